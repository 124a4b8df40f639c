// EXPECT_GRADIENTS and ASSERT_GRADIENTS: gradcheck() as a GoogleTest assertion. EXPECT_FLOAT_LIKE_DOUBLE: compare_float_double().
// The one header that needs GoogleTest; unroll.hpp leaves it out.
//
//     EXPECT_GRADIENTS([](auto x, auto w) { return tanh(matmul(x, w)); }, x, w);
//     EXPECT_GRADIENTS({.second_order = true}, [](auto& model, auto x) { return model(x); }, twin<MyModel>(65), x) << "eval mode";
//
// Inputs are named in the report as they are written here.
#pragma once

#include <unroll/autograd/gradcheck.hpp>

#include <gtest/gtest.h>

#define UNROLL_GRADCHECK_(check, on_failure, ...)                                                                \
    switch (0)                                                                                                   \
    case 0:                                                                                                      \
    default:                                                                                                     \
        if (const ::unroll::GradcheckResult unroll_result_ = ::unroll::detail::check(#__VA_ARGS__, __VA_ARGS__); \
            unroll_result_)                                                                                      \
            ;                                                                                                    \
        else                                                                                                     \
            on_failure() << ::unroll::to_string(unroll_result_)

/// The gradients are right, or the test has a failure that says which one is not.
#define EXPECT_GRADIENTS(...) UNROLL_GRADCHECK_(gradcheck_named, ADD_FAILURE, __VA_ARGS__)
/// The same; a failure ends the test.
#define ASSERT_GRADIENTS(...) UNROLL_GRADCHECK_(gradcheck_named, GTEST_FAIL, __VA_ARGS__)
/// Outputs and gradients in float are those in double up to FloatOptions::epsilons, in every instruction set.
#define EXPECT_FLOAT_LIKE_DOUBLE(...) UNROLL_GRADCHECK_(compare_float_double_named, ADD_FAILURE, __VA_ARGS__)
