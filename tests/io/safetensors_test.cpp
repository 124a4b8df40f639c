// Safetensors files there and back: every type, rank and name, and a reader and writer in Python that share no code.
#include <unroll/autograd/error.hpp>
#include <unroll/io/atomic_file.hpp>
#include <unroll/io/safetensors.hpp>
#include <unroll/tests/io/raw_safetensors.hpp>
#include <unroll/tests/support/build_kind.hpp>
#include <unroll/tests/support/error_message.hpp>
#include <unroll/tests/support/source_folder.hpp>
#include <unroll/tests/support/temporary_folder.hpp>
#include <unroll/tests/support/test_size.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <bit>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;

using nlohmann::json;
using unroll::DType;
using unroll::Index;
using unroll::Shape;
using unroll::StateDict;
using unroll::StoredTensor;
using unroll::Tensor;
using unroll::test::content_of;
using unroll::test::holds_in_child;
using unroll::test::io_error;
using unroll::test::put_content;
using unroll::test::raw_file;

constexpr DType kEveryDType[] = {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64, DType::i32,    DType::i16,
                                 DType::i8,  DType::u64, DType::u32, DType::u16,  DType::u8,  DType::boolean};

/// A tensor whose bytes are all different as far as that goes (bits of NaN among them).
StoredTensor patterned(DType dtype, const Shape& shape) {
    const auto count = static_cast<std::size_t>(shape.size()) * unroll::size_of(dtype);
    auto bytes = std::make_shared<std::byte[]>(count);
    for (std::size_t i = 0; i < count; ++i)
        bytes[i] = dtype == DType::boolean ? std::byte(i % 2) : std::byte((255 - 7 * i - i / 256) & 0xFF);
    return StoredTensor(dtype, shape, bytes, count);
}

StateDict there_and_back(const StateDict& dict) { return unroll::test::parse(unroll::format_safetensors(dict)); }

class Safetensors : public ::testing::Test {
protected:
    unroll::test::TemporaryFolder folder_;
};

TEST_F(Safetensors, EveryTypeOfEveryRankComesBack) {
    StateDict dict;
    for (const DType dtype : kEveryDType) {
        Shape shape;
        for (std::size_t rank = 0; rank <= Shape::kMaxRank; ++rank) {
            dict.put(std::string(unroll::to_string(dtype)) + std::to_string(rank), patterned(dtype, shape));
            if (rank < Shape::kMaxRank) shape = shape.inserted(rank, static_cast<Index>(2 + rank % 3));
        }
    }
    ASSERT_EQ(dict.size(), 91u);
    unroll::write_safetensors(folder_ / "f", dict);
    EXPECT_EQ(unroll::read_safetensors(folder_ / "f"), dict);
    EXPECT_EQ(there_and_back(dict), dict);
    EXPECT_EQ(folder_.entries(), 1u);
}

TEST_F(Safetensors, TensorsWithoutElementsAndEmptyDictionariesComeBack) {
    EXPECT_EQ(there_and_back(StateDict()), StateDict());
    EXPECT_EQ(unroll::format_safetensors(StateDict()).size(), 16u);
    StateDict dict;
    for (const DType dtype : kEveryDType) {
        dict.put(std::string(unroll::to_string(dtype)) + ".none", patterned(dtype, Shape{0}));
        dict.put(std::string(unroll::to_string(dtype)) + ".rows", patterned(dtype, Shape{3, 0, 5}));
    }
    EXPECT_EQ(there_and_back(dict), dict);
    dict.put("one", patterned(DType::u8, Shape{}));
    EXPECT_EQ(there_and_back(dict), dict);
    StateDict json_only;
    json_only.put_json("a", nullptr);
    EXPECT_EQ(there_and_back(json_only), json_only);
}

TEST_F(Safetensors, BitsOfNanSurvive) {
    StateDict dict;
    const Tensor<float> x{std::bit_cast<float>(0x7fa00001u), std::bit_cast<float>(0xffc12345u), -0.0f,
                          std::numeric_limits<float>::infinity(), 1e-45f};
    dict.put("x", x);
    dict.put_scalar("y", std::bit_cast<double>(0xfff0000000000001ull));
    const StateDict back = there_and_back(dict);
    EXPECT_EQ(back, dict);
    EXPECT_EQ(std::bit_cast<std::uint64_t>(back.scalar<double>("y")), 0xfff0000000000001ull);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(back.tensor<float>("x")(0)), 0x7fa00001u);
}

TEST_F(Safetensors, NamesAndJsonOfAnyCharactersComeBack) {
    StateDict dict;
    const std::vector<std::string> names{"größe.三.😀",
                                         "a\"b\\c/d",
                                         "line\nbreak\ttab",
                                         std::string("nul\0inside", 10),
                                         "\x01\x1f\x7f",
                                         " leading",
                                         "{}[]:,",
                                         "\xEF\xBF\xBF",
                                         "x",
                                         "X"};
    for (std::size_t i = 0; i < names.size(); ++i) {
        dict.put_scalar(names[i], static_cast<std::int64_t>(i));
        dict.put_json("json." + names[i], {{names[i], {names[i], i, nullptr, true, 0.1}}});
    }
    const StateDict back = there_and_back(dict);
    EXPECT_EQ(back, dict);
    for (std::size_t i = 0; i < names.size(); ++i) {
        EXPECT_EQ(back.scalar<std::int64_t>(names[i]), static_cast<std::int64_t>(i));
        EXPECT_EQ(back.json("json." + names[i])[names[i]][0], names[i]);
    }
}

TEST_F(Safetensors, JsonTextsThatLookLikeOtherValuesStayTexts) {
    StateDict dict;
    for (const char* text : {"100", "null", "", "{\"a\":1}", "\"quoted\"", "1e999"})
        dict.put_json(std::string("k") + text, text);
    const StateDict back = there_and_back(dict);
    for (const char* text : {"100", "null", "", "{\"a\":1}", "\"quoted\"", "1e999"})
        EXPECT_EQ(back.json(std::string("k") + text), text);
}

TEST_F(Safetensors, OrderOfTensorsAndOfJsonIsKept) {
    StateDict dict;
    dict.put_scalar("z", 1.0f);
    dict.put_json("second", 2);
    dict.put_scalar("a", 3.0);
    dict.put_json("first", 4);
    std::vector<std::string> names;
    const StateDict back = there_and_back(dict);
    for (const auto& entry : back.entries()) names.push_back(entry.name);
    EXPECT_EQ(names, (std::vector<std::string>{"second", "first", "z", "a"}));
}

TEST_F(Safetensors, EveryTensorIsAlignedToItsElements) {
    StateDict dict;
    dict.put_json("title", "odd");
    dict.put("bytes", patterned(DType::u8, Shape{3}));
    dict.put("halves", patterned(DType::f16, Shape{1}));
    dict.put("doubles", patterned(DType::f64, Shape{1}));
    dict.put("floats", patterned(DType::f32, Shape{1}));
    const std::string bytes = unroll::format_safetensors(dict);
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    EXPECT_EQ(length % 8, 0u);
    const json header = json::parse(bytes.substr(8, length));
    EXPECT_EQ(header["doubles"]["data_offsets"], json({0, 8}));
    EXPECT_EQ(header["floats"]["data_offsets"], json({8, 12}));
    EXPECT_EQ(header["halves"]["data_offsets"], json({12, 14}));
    EXPECT_EQ(header["bytes"]["data_offsets"], json({14, 17}));
    EXPECT_EQ(header["__metadata__"], json({{"title", "\"odd\""}}));
    EXPECT_EQ(bytes.size(), 8 + length + 17);
}

TEST_F(Safetensors, TheBytesAreAsTheFormatSays) {
    StateDict dict;
    dict.put("w.x", Tensor<float>{{1.0f, -2.0f}});
    EXPECT_EQ(unroll::format_safetensors(dict),
              raw_file(R"({"w.x":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}      )",
                       std::string("\0\0\x80\x3f\0\0\0\xc0", 8)));
}

TEST_F(Safetensors, ForeignMetadataIsRead) {
    const StateDict dict = unroll::test::parse(
        raw_file(R"({"__metadata__":{"format":"pt","step":"100","list":"[1, 2]","deep":")" + std::string(65, '[') +
                     std::string(65, ']') + R"("},"w":{"shape":[],"data_offsets":[0,2],"dtype":"BF16"}} )",
                 "ab"));
    EXPECT_EQ(dict.json("format"), "pt");
    EXPECT_EQ(dict.json("step"), 100);
    EXPECT_EQ(dict.json("list"), json({1, 2}));
    EXPECT_TRUE(dict.json("deep").is_string());
    EXPECT_EQ(dict.stored("w").shape(), Shape{});
    EXPECT_EQ(there_and_back(dict), dict);
}

TEST_F(Safetensors, InfoTellsWhatTheHeaderTells) {
    StateDict dict;
    dict.put_json("options", {{"hidden", 5}});
    dict.put("w", patterned(DType::f32, Shape{2, 3}));
    unroll::write_safetensors(folder_ / "f", dict);
    const unroll::SafetensorsInfo info = unroll::read_safetensors_info(folder_ / "f");
    ASSERT_EQ(info.tensors.size(), 1u);
    EXPECT_EQ(info.tensors[0].name, "w");
    EXPECT_EQ(info.tensors[0].dtype, DType::f32);
    EXPECT_EQ(info.tensors[0].shape, (Shape{2, 3}));
    EXPECT_EQ(info.tensors[0].bytes, 24u);
    EXPECT_EQ(info.metadata.json("options"), json({{"hidden", 5}}));
    EXPECT_EQ(info.file_bytes, fs::file_size(folder_ / "f"));
}

TEST_F(Safetensors, ErrorsOfEntriesNameTheFile) {
    unroll::write_safetensors(folder_ / "f", StateDict());
    EXPECT_EQ(
        unroll::test::error_message<unroll::ValueError>([&] { unroll::read_safetensors(folder_ / "f").stored("w"); }),
        "[StateDict] '" + (folder_ / "f").string() + "': there is no entry \"w\"; it is empty");
}

TEST_F(Safetensors, WhatIsNoFileIsRefused) {
    const auto message = [&](const fs::path& path) { return io_error([&] { unroll::read_safetensors(path); }); };
    const fs::path path = folder_ / "f";
    const std::string before = "cannot read '" + path.string() + "': ";
    EXPECT_EQ(message(path), before + "No such file or directory");
    EXPECT_EQ(message(folder_.path()), "cannot read '" + folder_.path().string() + "': it is a folder");
    EXPECT_EQ(message("/dev/zero"), "cannot read '/dev/zero': it is not a regular file");
    ::mkfifo((folder_ / "pipe").c_str(), 0600);
    EXPECT_EQ(message(folder_ / "pipe"), "cannot read '" + (folder_ / "pipe").string() + "': it is not a regular file");
    put_content(path, "");
    EXPECT_EQ(message(path), before + "it is empty");
    put_content(path, "First Citizen:\nBefore we proceed any further");
    EXPECT_EQ(message(path), before + "it is no safetensors file (its first 8 bytes ask for a header longer than "
                                      "100,000,000 bytes)");
    put_content(path, "{}");
    EXPECT_EQ(message(path), before + "2 bytes are no safetensors file, nor the beginning of one");
    ::chmod(path.c_str(), 0);
    EXPECT_TRUE(holds_in_child([&] {
        if (::geteuid() == 0 && (::chmod(folder_.path().c_str(), 0755) != 0 || ::setuid(65534) != 0)) return false;
        return message(path) == before + "Permission denied";
    }));
}

TEST_F(Safetensors, TensorsOfMoreThanFourGibibytesAreLaidOutAndRead) {
    // A file with a hole: 5 GiB on paper, some kilobytes on the disk.
    const std::uint64_t count = (std::uint64_t{5} << 30) + 3;
    const std::string header = R"({"a":{"dtype":"U8","shape":[)" + std::to_string(count) + R"(],"data_offsets":[0,)" +
                               std::to_string(count) + R"(]},"b":{"dtype":"U8","shape":[2],"data_offsets":[)" +
                               std::to_string(count) + "," + std::to_string(count + 2) + "]}}";
    const fs::path path = folder_ / "large";
    put_content(path, raw_file(header, ""));
    const std::uint64_t end = fs::file_size(path) + count + 2;
    if (::truncate(path.c_str(), static_cast<off_t>(end)) != 0) GTEST_SKIP() << "no file of 5 GiB can be made here";
    EXPECT_EQ(unroll::read_safetensors_info(path).tensors.at(0).bytes, count);
    ::truncate(path.c_str(), static_cast<off_t>(end - 1));
    EXPECT_EQ(io_error([&] { unroll::read_safetensors_info(path); }),
              "cannot read '" + path.string() + "': it is truncated: 1 bytes of data are missing");
    ::truncate(path.c_str(), static_cast<off_t>(end));
    if (unroll::test::test_size() != unroll::test::TestSize::kLong) return;
    const StateDict dict = unroll::read_safetensors(path);
    EXPECT_EQ(dict.stored("a").bytes().size(), count);
    unroll::write_safetensors(folder_ / "copy", dict);
    EXPECT_EQ(unroll::read_safetensors(folder_ / "copy"), dict);
}

TEST_F(Safetensors, MemoryThatIsNotThereIsSaid) {
    if (unroll::test::kSanitized)
        GTEST_SKIP() << "a sanitizer ends the program where memory is asked for that is not there";
    const std::string header = R"({"a":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}})";
    const fs::path path = folder_ / "sparse";
    put_content(path, raw_file(header, ""));
    const std::uint64_t end = fs::file_size(path) + 1099511627776;
    if (::truncate(path.c_str(), static_cast<off_t>(end)) != 0) GTEST_SKIP() << "no file of 1 TiB can be made here";
    EXPECT_EQ(unroll::test::exit_code_of_child([&] {
                  const rlimit limit{std::uint64_t{64} << 30, std::uint64_t{64} << 30};
                  if (::setrlimit(RLIMIT_AS, &limit) != 0) return 2;
                  const std::string error = io_error([&] { unroll::read_safetensors(path); });
                  return error == "cannot read '" + path.string() + "': there is not enough memory for it" ? 0 : 1;
              }),
              0);
}

// ---- Writing fails: the file that stood there stays ----

TEST_F(Safetensors, AFailedWriteLeavesTheOldFile) {
    StateDict old, large;
    old.put_scalar("old", 1.0);
    large.put("x", unroll::zeros<double>(Shape{100000}));
    const fs::path path = folder_ / "f";
    unroll::write_safetensors(path, old);
    EXPECT_TRUE(holds_in_child([&] {
        std::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{100000, 100000};  // bytes a file may have
        ::setrlimit(RLIMIT_FSIZE, &limit);
        return io_error([&] { unroll::write_safetensors(path, large); }) ==
               "cannot write '" + path.string() + "': File too large";
    }));
    EXPECT_EQ(unroll::read_safetensors(path), old);
    EXPECT_EQ(folder_.entries(), 1u);
    EXPECT_EQ(io_error([&] { unroll::write_safetensors(folder_ / "missing" / "f", old); }),
              "cannot write '" + (folder_ / "missing" / "f").string() + "': the folder '" +
                  (folder_ / "missing").string() + "' does not exist");
}

TEST_F(Safetensors, AFullDiskLeavesTheOldFile) {
    const auto mount_disk = [&] {
        return ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               ::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, "size=64k") == 0;
    };
    if (!holds_in_child(mount_disk)) GTEST_SKIP() << "this user may not mount a file system";
    EXPECT_TRUE(holds_in_child([&] {
        mount_disk();
        StateDict old, large;
        old.put_scalar("old", 1.0);
        large.put("x", unroll::zeros<double>(Shape{100000}));
        const fs::path path = folder_ / "f";
        unroll::write_safetensors(path, old);
        const std::string error = io_error([&] { unroll::write_safetensors(path, large); });
        return error == "cannot write '" + path.string() + "': No space left on device" &&
               unroll::read_safetensors(path) == old && folder_.entries() == 1;
    }));
}

TEST_F(Safetensors, AnUnwritableFolderIsNamed) {
    StateDict old;
    old.put_scalar("old", 1.0);
    const fs::path path = folder_ / "f";
    unroll::write_safetensors(path, old);
    ::chmod(path.c_str(), 0644);
    ::chmod(folder_.path().c_str(), 0555);
    EXPECT_TRUE(holds_in_child([&] {
        if (::geteuid() == 0 && ::setuid(65534) != 0) return false;
        return io_error([&] { unroll::write_safetensors(folder_ / "g", old); })
            .starts_with("cannot write '" + (folder_ / "g").string() + "': cannot create a file in the folder");
    }));
    ::chmod(folder_.path().c_str(), 0755);
    EXPECT_EQ(unroll::read_safetensors(path), old);
    EXPECT_EQ(folder_.entries(), 1u);
}

TEST_F(Safetensors, AHeaderThatIsTooLongIsNotWritten) {
    StateDict dict;
    dict.put_json("text", std::string(100'000'001, 'x'));
    EXPECT_EQ(
        unroll::test::error_message<unroll::ValueError>([&] { unroll::write_safetensors(folder_ / "f", dict); }),
        "[safetensors] a header of 100000040 bytes is longer than the format's 100,000,000; put large JSON values "
        "elsewhere");
    EXPECT_EQ(folder_.entries(), 0u);
}

// ---- Python ----

TEST_F(Safetensors, PythonReadsWhatWeWriteAndWritesWhatWeRead) {
    if (std::system("python3 -c '' >/dev/null 2>&1") != 0) GTEST_SKIP() << "there is no python3";
    StateDict dict;
    dict.put_json("options", {{"hidden", 128}, {"title", "größe \"三\"\n"}});
    dict.put_json("best", 1.5);
    for (const DType dtype : kEveryDType) {
        dict.put(std::string(unroll::to_string(dtype)), patterned(dtype, Shape{2, 3, 5}));
        dict.put("empty." + std::string(unroll::to_string(dtype)), patterned(dtype, Shape{0, 4}));
    }
    dict.put_scalar("größe.三\n", 0.1);
    dict.put("layer.weight", Tensor<float>{{1.5f, -2.0f, 0.25f}, {3.0f, 1e10f, -0.0f}});
    unroll::write_safetensors(folder_ / "ours", dict);
    const std::string command = "python3 -B '" + unroll::test::source_file("tests/io/safetensors_peer.py") + "' '" +
                                (folder_ / "ours").string() + "' '" + (folder_ / "theirs").string() + "'";
    ASSERT_EQ(std::system(command.c_str()), 0);
    EXPECT_EQ(unroll::read_safetensors(folder_ / "theirs"), dict);
}

}  // namespace
