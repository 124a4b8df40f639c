// Files written whole or not at all: what stands under the name, what is left in the folder, what the errors say.
#include <unroll/autograd/error.hpp>
#include <unroll/io/atomic_file.hpp>
#include <unroll/tests/support/error_message.hpp>
#include <unroll/tests/support/temporary_folder.hpp>

#include <gtest/gtest.h>

#include <csignal>
#include <vector>

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;

using unroll::test::content_of;
using unroll::test::holds_in_child;
using unroll::test::io_error;
using unroll::test::put_content;

class AtomicFile : public ::testing::Test {
protected:
    unroll::test::TemporaryFolder folder_;
};

TEST_F(AtomicFile, WritesTextBytesAndPieces) {
    unroll::write_file_atomically(folder_ / "text", std::string_view("to be\n"));
    EXPECT_EQ(content_of(folder_ / "text"), "to be\n");
    const std::vector<std::byte> bytes{std::byte{0}, std::byte{255}, std::byte{10}};
    unroll::write_file_atomically(folder_ / "bytes", bytes);
    EXPECT_EQ(content_of(folder_ / "bytes"), std::string("\0\xff\n", 3));
    unroll::write_file_atomically(folder_ / "pieces", [](unroll::AtomicFile& file) {
        for (int i = 0; i < 3; ++i) file.write("piece ");
        file.write(std::string(100000, 'x'));
        file.write("end");
    });
    EXPECT_EQ(content_of(folder_ / "pieces"), "piece piece piece " + std::string(100000, 'x') + "end");
    EXPECT_EQ(folder_.entries(), 3u);
}

TEST_F(AtomicFile, WritesAnEmptyFile) {
    unroll::write_file_atomically(folder_ / "empty", std::string_view());
    EXPECT_TRUE(fs::is_regular_file(folder_ / "empty"));
    EXPECT_EQ(fs::file_size(folder_ / "empty"), 0u);
}

TEST_F(AtomicFile, AppearsOnlyAtCommit) {
    put_content(folder_ / "f", "old");
    {
        unroll::AtomicFile file(folder_ / "f");
        file.write(std::string(200000, 'n'));
        EXPECT_EQ(content_of(folder_ / "f"), "old");
        file.commit();
    }
    EXPECT_EQ(content_of(folder_ / "f").size(), 200000u);
    EXPECT_EQ(folder_.entries(), 1u);
}

TEST_F(AtomicFile, SyncMakesNothingAppear) {
    put_content(folder_ / "f", "old");
    unroll::AtomicFile file(folder_ / "f");
    file.write("new");
    file.sync();
    EXPECT_EQ(content_of(folder_ / "f"), "old");
    file.write("er");
    file.commit();
    EXPECT_EQ(content_of(folder_ / "f"), "newer");
    EXPECT_THROW(file.sync(), unroll::UsageError);
}

TEST_F(AtomicFile, AnExceptionLeavesTheOldFileAndNoTemporary) {
    put_content(folder_ / "f", "old");
    const auto failing = [](unroll::AtomicFile& file) {
        file.write(std::string(300000, 'n'));
        throw std::runtime_error("interrupted");
    };
    EXPECT_THROW(unroll::write_file_atomically(folder_ / "f", failing), std::runtime_error);
    EXPECT_EQ(content_of(folder_ / "f"), "old");
    EXPECT_EQ(folder_.entries(), 1u);
}

TEST_F(AtomicFile, KeepsTheModeOfAReplacedFileAndFollowsLinks) {
    fs::create_directory(folder_ / "elsewhere");
    put_content(folder_ / "elsewhere" / "real", "old");
    ::chmod((folder_ / "elsewhere" / "real").c_str(), 0640);
    fs::create_symlink("elsewhere/real", folder_ / "link");
    unroll::write_file_atomically(folder_ / "link", std::string_view("new"));
    EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
    EXPECT_EQ(content_of(folder_ / "elsewhere" / "real"), "new");
    EXPECT_EQ(fs::status(folder_ / "elsewhere" / "real").permissions(), fs::perms(0640));
}

TEST_F(AtomicFile, NewFilesObeyTheUmask) {
    EXPECT_TRUE(holds_in_child([&] {
        ::umask(027);
        unroll::write_file_atomically(folder_ / "new", std::string_view("x"));
        return fs::status(folder_ / "new").permissions() == fs::perms(0640);
    }));
}

TEST_F(AtomicFile, ANameOfTheGreatestLengthWorks) {
    const fs::path path = folder_ / std::string(255, 'n');
    unroll::write_file_atomically(path, std::string_view("x"));
    EXPECT_EQ(content_of(path), "x");
}

TEST_F(AtomicFile, ARelativeNameWithoutFolderWorks) {
    EXPECT_TRUE(holds_in_child([&] {
        fs::current_path(folder_.path());
        unroll::write_file_atomically("plain", std::string_view("x"));
        return content_of(folder_ / "plain") == "x";
    }));
}

TEST_F(AtomicFile, MissingFolderIsNamed) {
    const fs::path path = folder_ / "missing" / "f";
    EXPECT_EQ(io_error([&] { unroll::write_file_atomically(path, std::string_view("x")); }),
              "cannot write '" + path.string() + "': the folder '" + (folder_ / "missing").string() +
                  "' does not exist");
}

TEST_F(AtomicFile, AFolderOrADeviceIsNotReplaced) {
    EXPECT_EQ(io_error([&] { unroll::write_file_atomically(folder_.path(), std::string_view("x")); }),
              "cannot write '" + folder_.path().string() + "': it is a folder");
    EXPECT_EQ(io_error([&] { unroll::write_file_atomically("/dev/null", std::string_view("x")); }),
              "cannot write '/dev/null': it is not a regular file");
    EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(AtomicFile, ANameThatIsNoneIsRefused) {
    EXPECT_EQ(io_error([&] { unroll::write_file_atomically("", std::string_view("x")); }),
              "cannot write '': it does not name a file");
    EXPECT_EQ(io_error([&] { unroll::write_file_atomically("folder/", std::string_view("x")); }),
              "cannot write 'folder/': it does not name a file");
}

TEST_F(AtomicFile, AFileInPlaceOfTheFolderIsNamed) {
    put_content(folder_ / "file", "x");
    const fs::path path = folder_ / "file" / "f";
    EXPECT_EQ(io_error([&] { unroll::write_file_atomically(path, std::string_view("x")); }),
              "cannot write '" + path.string() + "': Not a directory");
}

TEST_F(AtomicFile, ACircleOfLinksIsRefused) {
    fs::create_symlink("b", folder_ / "a");
    fs::create_symlink("a", folder_ / "b");
    EXPECT_EQ(io_error([&] { unroll::write_file_atomically(folder_ / "a", std::string_view("x")); }),
              "cannot write '" + (folder_ / "a").string() + "': Too many levels of symbolic links");
}

// Root may write everywhere, so that the test gives up that right first.
TEST_F(AtomicFile, UnwritableFolderAndReadOnlyFileAreNamed) {
    put_content(folder_ / "kept", "old");
    ::chmod((folder_ / "kept").c_str(), 0444);
    ::chmod(folder_.path().c_str(), 0555);
    EXPECT_TRUE(holds_in_child([&] {
        if (::geteuid() == 0 && ::setuid(65534) != 0) return false;
        const fs::path path = folder_ / "f";
        const std::string folder_error = io_error([&] { unroll::write_file_atomically(path, std::string_view("x")); });
        const std::string file_error = io_error([&] { unroll::check_writable(folder_ / "kept"); });
        return folder_error == "cannot write '" + path.string() + "': cannot create a file in the folder '" +
                                   folder_.path().string() + "': Permission denied" &&
               file_error == "cannot write '" + (folder_ / "kept").string() + "': Permission denied";
    }));
    ::chmod(folder_.path().c_str(), 0755);
    EXPECT_EQ(content_of(folder_ / "kept"), "old");
    EXPECT_EQ(folder_.entries(), 1u);
}

TEST_F(AtomicFile, AWriteThatFailsHalfWayLeavesTheOldFile) {
    put_content(folder_ / "f", "old");
    EXPECT_TRUE(holds_in_child([&] {
        std::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{100000, 100000};  // bytes a file may have
        ::setrlimit(RLIMIT_FSIZE, &limit);
        const std::string error =
            io_error([&] { unroll::write_file_atomically(folder_ / "f", std::string(500000, 'n')); });
        return error == "cannot write '" + (folder_ / "f").string() + "': File too large";
    }));
    EXPECT_EQ(content_of(folder_ / "f"), "old");
    EXPECT_EQ(folder_.entries(), 1u);
}

TEST_F(AtomicFile, AFullDiskIsSaidAndLeavesTheOldFile) {
    // A disk of 64 KiB that only the child sees.
    const auto mount_disk = [&] {
        return ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               ::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, "size=64k") == 0;
    };
    if (!holds_in_child(mount_disk)) GTEST_SKIP() << "this user may not mount a file system";
    EXPECT_TRUE(holds_in_child([&] {
        const fs::path path = folder_ / "f";
        mount_disk();
        put_content(path, "old");
        const std::string error = io_error([&] { unroll::write_file_atomically(path, std::string(500000, 'n')); });
        return error == "cannot write '" + path.string() + "': No space left on device" && content_of(path) == "old" &&
               folder_.entries() == 1;
    }));
}

TEST_F(AtomicFile, CheckWritableChangesNothing) {
    put_content(folder_ / "f", "old");
    unroll::check_writable(folder_ / "f");
    unroll::check_writable(folder_ / "new");
    EXPECT_EQ(content_of(folder_ / "f"), "old");
    EXPECT_EQ(folder_.entries(), 1u);
}

TEST_F(AtomicFile, NothingFollowsACommit) {
    unroll::AtomicFile file(folder_ / "f");
    file.commit();
    EXPECT_THROW(file.write("late"), unroll::UsageError);
    EXPECT_THROW(file.commit(), unroll::UsageError);
}

}  // namespace
