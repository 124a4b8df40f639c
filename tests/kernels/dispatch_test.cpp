// The choice of an instruction set.
#include <string>

#include <unroll/autograd/error.hpp>

#include "support.hpp"

namespace unroll::test {
namespace {

using detail::isa_from_name;

TEST(Dispatch, KnowsEveryNameAndEveryTableKnowsItsOwn) {
    for_each_isa([](const FloatKernels& k) {
        EXPECT_EQ(isa_from_name(k.name), k.isa);
        EXPECT_STREQ(detail::isa_name(k.isa), k.name);
        EXPECT_EQ(k.lanes, k.isa == Isa::avx512 ? 16 : k.isa == Isa::avx2 ? 8 : 4);
    });
    EXPECT_TRUE(detail::isa_available(Isa::baseline));
}

TEST(Dispatch, AnUnknownNameIsAnErrorThatListsThePossibleOnes) {
    for (const char* name : {"sse9", "AVX2", "avx512 ", "-"}) {
        try {
            isa_from_name(name);
            FAIL() << name;
        } catch (const ValueError& error) {
            const std::string message = error.what();
            EXPECT_NE(message.find(name), std::string::npos) << message;
            EXPECT_EQ(message.find('\n'), std::string::npos) << message;
            for_each_isa([&](const FloatKernels& k) { EXPECT_NE(message.find(k.name), std::string::npos) << message; });
        }
    }
}

TEST(Dispatch, SetIsaOverridesTheChoice) {
    const Isa before = detail::active_isa();
    for_each_isa([](const FloatKernels& k) {
        detail::set_isa(k.isa);
        EXPECT_EQ(&detail::kernels(), &k);
        EXPECT_EQ(detail::active_isa(), k.isa);
    });
    detail::set_isa(before);
}

// Every pointer of every table is set: a table is nothing but pointers after its first three members.
TEST(Dispatch, TablesAreComplete) {
    for_each_isa([](const FloatKernels& k) {
        const auto* begin = reinterpret_cast<const char*>(&k.exp);
        const auto* end = reinterpret_cast<const char*>(&k + 1);
        for (const char* p = begin; p < end; p += sizeof(void*)) {
            const void* pointer = nullptr;
            std::memcpy(&pointer, p, sizeof pointer);
            EXPECT_NE(pointer, nullptr) << "entry " << (p - begin) / static_cast<std::ptrdiff_t>(sizeof(void*));
        }
    });
}

}  // namespace
}  // namespace unroll::test
