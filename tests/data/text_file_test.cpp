// Reading whole files, and what is said about those that cannot be read.
#include <unroll/autograd/error.hpp>
#include <unroll/data/text_file.hpp>
#include <unroll/tests/support/error_message.hpp>
#include <unroll/tests/support/temporary_folder.hpp>

#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include <sys/stat.h>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;
using unroll::read_text_file;

std::string io_error(const fs::path& path) {
    return unroll::test::error_message<unroll::IoError>([&] { read_text_file(path); });
}

class TextFile : public ::testing::Test {
protected:
    unroll::test::TemporaryFolder folder_;
};

TEST_F(TextFile, ComesBackByteByByte) {
    const std::string bytes = std::string("line\r\n\0\xFF\xEF\xBB\xBF", 12) + std::string(100000, 'x');
    std::ofstream(folder_ / "f", std::ios::binary) << bytes;
    EXPECT_EQ(read_text_file(folder_ / "f"), bytes);
}

TEST_F(TextFile, AByteOrderMarkAtTheBeginningIsNotText) {
    const std::string mark = "\xEF\xBB\xBF", file = (folder_ / "f").string();
    for (const std::string text : {"line\n", "x", "\xEF\xBB", "\xEF\xBB\xBF"}) {
        std::ofstream(file, std::ios::binary) << mark << text;
        EXPECT_EQ(read_text_file(file), text);
    }
    std::ofstream(file, std::ios::binary) << mark;
    EXPECT_EQ(io_error(file), "cannot read '" + file + "': it is empty");
}

TEST_F(TextFile, APipeIsReadToItsEnd) {
    const fs::path pipe = folder_ / "pipe";
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    const std::string bytes(200000, 'p');
    std::thread writer([&] { std::ofstream(pipe, std::ios::binary) << bytes; });
    EXPECT_EQ(read_text_file(pipe), bytes);
    writer.join();
}

TEST_F(TextFile, MissingFolderAndEmptyAreNamed) {
    const std::string missing = (folder_ / "missing.txt").string();
    EXPECT_EQ(io_error(missing), "cannot read '" + missing + "': No such file or directory");
    EXPECT_EQ(io_error(folder_.path()), "cannot read '" + folder_.path().string() + "': it is a folder");
    const std::string empty = (folder_ / "empty.txt").string();
    std::ofstream{empty};
    EXPECT_EQ(io_error(empty), "cannot read '" + empty + "': it is empty");
}

// Root may read everything, so that the test gives up that right in a process of its own.
TEST_F(TextFile, UnreadableIsNamed) {
    const std::string secret = (folder_ / "secret.txt").string();
    std::ofstream(secret) << "x";
    ::chmod(secret.c_str(), 0);
    ::chmod(folder_.path().c_str(), 0755);
    EXPECT_TRUE(unroll::test::holds_in_child([&] {
        if (::geteuid() == 0 && ::setuid(65534) != 0) return false;
        return io_error(secret) == "cannot read '" + secret + "': Permission denied";
    }));
}

}  // namespace
