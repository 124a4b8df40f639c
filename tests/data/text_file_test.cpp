// Reading whole files, and what is said about those that cannot be read.
#include <unroll/autograd/error.hpp>
#include <unroll/data/text_file.hpp>

#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;
using unroll::read_text_file;

class TextFile : public ::testing::Test {
protected:
    void SetUp() override {
        std::string pattern = (fs::temp_directory_path() / "unroll-text-XXXXXX").string();
        folder_ = ::mkdtemp(pattern.data());
    }
    void TearDown() override { fs::remove_all(folder_); }

    static std::string io_error(const fs::path& path) {
        try {
            read_text_file(path);
        } catch (const unroll::IoError& error) {
            return error.what();
        }
        return "no IoError";
    }

    fs::path folder_;
};

TEST_F(TextFile, ComesBackByteByByte) {
    const std::string bytes = std::string("\xEF\xBB\xBFline\r\n\0\xFF", 12) + std::string(100000, 'x');
    std::ofstream(folder_ / "f", std::ios::binary) << bytes;
    EXPECT_EQ(read_text_file(folder_ / "f"), bytes);
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
    EXPECT_EQ(io_error(folder_), "cannot read '" + folder_.string() + "': it is a folder");
    const std::string empty = (folder_ / "empty.txt").string();
    std::ofstream{empty};
    EXPECT_EQ(io_error(empty), "cannot read '" + empty + "': it is empty");
}

// Root may read everything, so that the test gives up that right in a process of its own.
TEST_F(TextFile, UnreadableIsNamed) {
    const std::string secret = (folder_ / "secret.txt").string();
    std::ofstream(secret) << "x";
    ::chmod(secret.c_str(), 0);
    ::chmod(folder_.c_str(), 0755);
    const pid_t child = ::fork();
    if (child == 0) {
        const bool changed = ::geteuid() != 0 || ::setuid(65534) == 0;
        ::_exit(changed && io_error(secret) == "cannot read '" + secret + "': Permission denied" ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
}

}  // namespace
