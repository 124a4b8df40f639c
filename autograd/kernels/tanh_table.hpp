// Coefficients of tanh on 32 intervals: [0, 5/64), then quarters of the octaves up to 16. On each,
//     tanh(centre + u) = value + u (c1 + u (c2 + u (c3 + u (c4 + u c5)))).
// Centres are chosen so that the value is a float to within 2^-36: its rounding costs nothing. The other coefficients are
// minimax fits of relative error. An interval is found by the five lowest bits of exponent and leading two bits of
// mantissa together, which is why the tables start at 2. This file is for AVX-512, whose registers hold such tables.
#pragma once

namespace unroll::detail::UNROLL_ISA_NAMESPACE {

// clang-format off
alignas(64) static constexpr float kTanhCentre[32] = {
    0x1.1ff226p+1f, 0x1.5fe7f2p+1f, 0x1.a01c78p+1f, 0x1.e01726p+1f, 0x1.2559b4p+2f, 0x1.646d5cp+2f, 0x1.98cb2ap+2f,
    0x1.e434d6p+2f, 0x1.15425ap+3f, 0.0f, 0.0f, 0.0f, 0.0f, 0x1.5fe34p-4f, 0x1.9ffde6p-4f, 0x1.dfe2e6p-4f,
    0x1.1ff20ep-3f, 0x1.6006ap-3f, 0x1.a01ad6p-3f, 0x1.e01738p-3f, 0x1.201c7cp-2f, 0x1.600068p-2f, 0x1.9fefaap-2f,
    0x1.e0167ep-2f, 0x1.2018bp-1f, 0x1.5ffc7cp-1f, 0x1.a01cfcp-1f, 0x1.dff95ap-1f, 0x1.20155cp+0f, 0x1.5fef1ep+0f,
    0x1.a01248p+0f, 0x1.dfe98p+0f};
alignas(64) static constexpr float kTanhValue[32] = {
    0x1.f4bd6ep-1f, 0x1.fbd37ap-1f, 0x1.fe7728p-1f, 0x1.ff6f4cp-1f, 0x1.ffe4a2p-1f, 0x1.fffc3p-1f, 0x1.ffff42p-1f,
    0x1.ffffeep-1f, 0x1.fffffep-1f, 0x1p+0f, 0x1p+0f, 0x1p+0f, 0.0f, 0x1.5f0648p-4f, 0x1.9e9142p-4f, 0x1.ddb3dep-4f,
    0x1.1e1024p-3f, 0x1.5c9976p-3f, 0x1.9a78dep-3f, 0x1.d77c5ap-3f, 0x1.18bdf2p-2f, 0x1.52c322p-2f, 0x1.8a79f8p-2f,
    0x1.bfc09cp-2f, 0x1.051ab4p-1f, 0x1.31559cp-1f, 0x1.5798eep-1f, 0x1.77d528p-1f, 0x1.9e6b72p-1f, 0x1.c27104p-1f,
    0x1.d9cc3cp-1f, 0x1.e87494p-1f};
alignas(64) static constexpr float kTanh1[32] = {
    0x1.645bfp-5f, 0x1.0a0ac4p-6f, 0x1.884158p-8f, 0x1.213f24p-9f, 0x1.b5f0e6p-12f, 0x1.e81948p-15f, 0x1.7bed68p-17f,
    0x1.200f2p-20f, 0x1.fd78c4p-24f, 0.0f, 0.0f, 0.0f, 0x1p+0f, 0x1.fc3d5cp-1f, 0x1.fac14cp-1f, 0x1.f9093p-1f,
    0x1.f602cp-1f, 0x1.f12a74p-1f, 0x1.eb6ec4p-1f, 0x1.e4dd2ap-1f, 0x1.d983fep-1f, 0x1.c7f704p-1f, 0x1.b4048ap-1f,
    0x1.9e1bbap-1f, 0x1.7ad846p-1f, 0x1.49e972p-1f, 0x1.196a6cp-1f, 0x1.d83dd4p-2f, 0x1.61204ep-2f, 0x1.cedcf8p-3f,
    0x1.26374ep-3f, 0x1.700d5ap-4f};
alignas(64) static constexpr float kTanh2[32] = {
    -0x1.5c8318p-5f, -0x1.07dbaep-6f, -0x1.870d7ap-8f, -0x1.20e7fap-9f, -0x1.b5710ep-12f, -0x1.e78ecap-15f,
    -0x1.7bd54cp-17f, -0x1.1fc0dcp-20f, -0x1.006bap-23f, 0.0f, 0.0f, 0.0f, 0x1.01e606p-25f, -0x1.5c722ap-4f,
    -0x1.9a51eap-4f, -0x1.d73498p-4f, -0x1.187b4ep-3f, -0x1.527fcep-3f, -0x1.89fbc8p-3f, -0x1.be7f2ep-3f,
    -0x1.03a3dap-2f, -0x1.2dafdap-2f, -0x1.4fef6p-2f, -0x1.6a24fep-2f, -0x1.8265fep-2f, -0x1.897d76p-2f,
    -0x1.79b5b2p-2f, -0x1.5aa5e4p-2f, -0x1.1dd3bap-2f, -0x1.9736fap-3f, -0x1.1043acp-3f, -0x1.5f2096p-4f};
alignas(64) static constexpr float kTanh3[32] = {
    0x1.bc25f6p-6f, 0x1.5a127p-7f, 0x1.0321fep-8f, 0x1.8059dep-10f, 0x1.20e4ap-12f, 0x1.429a2ap-15f, 0x1.fe4a66p-18f,
    0x1.7cf998p-21f, 0x1.677ec2p-24f, 0.0f, 0.0f, 0.0f, -0x1.55563cp-2f, -0x1.4ba756p-2f, -0x1.47a25cp-2f,
    -0x1.42a6dep-2f, -0x1.3b2686p-2f, -0x1.2eb85ep-2f, -0x1.1ff3eap-2f, -0x1.0fe8fap-2f, -0x1.e8f032p-3f,
    -0x1.983a1p-3f, -0x1.427402p-3f, -0x1.d6fb5cp-4f, -0x1.bc4bb6p-5f, 0x1.d7c1bap-7f, 0x1.07668p-4f, 0x1.84231p-4f,
    0x1.c69344p-4f, 0x1.97ef1p-4f, 0x1.33c28p-4f, 0x1.a898ep-5f};
alignas(64) static constexpr float kTanh4[32] = {
    -0x1.961ebap-7f, -0x1.51ce2ep-8f, -0x1.02cd8ep-9f, -0x1.8306e6p-11f, -0x1.2d189ap-13f, -0x1.5199a2p-16f,
    -0x1.04024ap-18f, -0x1.8ec8c6p-22f, -0x1.623fccp-25f, 0.0f, 0.0f, 0.0f, 0x1.e8a07p-14f, 0x1.b528ecp-5f,
    0x1.029676p-4f, 0x1.3c3b2p-4f, 0x1.688c18p-4f, 0x1.ace914p-4f, 0x1.f0cf74p-4f, 0x1.11246cp-3f, 0x1.331084p-3f,
    0x1.5024bap-3f, 0x1.5c3134p-3f, 0x1.585092p-3f, 0x1.39eedap-3f, 0x1.e96deap-4f, 0x1.46de36p-4f, 0x1.63055p-5f,
    0x1.d9bf9p-9f, -0x1.59bed4p-6f, -0x1.9bb0e4p-6f, -0x1.55c10ep-6f};
alignas(64) static constexpr float kTanh5[32] = {
    0x1.04aa38p-8f, 0x1.f659fp-10f, 0x1.9467eap-11f, 0x1.332438p-12f, 0x1.1ff2aep-14f, 0x1.38e48cp-17f,
    0x1.53107p-20f, 0x1.6ee694p-23f, 0x1.534878p-27f, 0.0f, 0.0f, 0.0f, 0x1.0e5e56p-3f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f,
    0.0f, 0.0f, 0x1.4eaa48p-5f, 0.0f, 0.0f, 0.0f, -0x1.3fdb4ap-5f, -0x1.0e2252p-4f, -0x1.e94dc2p-5f, -0x1.a76352p-5f,
    -0x1.06dfe6p-5f, -0x1.38591ep-7f, 0x1.64ebp-10f, 0x1.2c9f92p-8f};
// clang-format on

}  // namespace unroll::detail::UNROLL_ISA_NAMESPACE
