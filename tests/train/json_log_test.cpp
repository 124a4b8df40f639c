// Lines as they are written, cut for a resumed run, and read again.
#include <unroll/autograd/error.hpp>
#include <unroll/tests/support/error_message.hpp>
#include <unroll/tests/support/temporary_folder.hpp>
#include <unroll/train/json_log.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <csignal>

#include <sys/resource.h>

namespace {

using unroll::JsonLog;
using unroll::read_json_log;
using unroll::test::content_of;
using unroll::test::error_message;
using unroll::test::put_content;

class JsonLogFile : public ::testing::Test {
protected:
    unroll::test::TemporaryFolder folder_;
    std::filesystem::path path_ = folder_ / "log.jsonl";
};

TEST_F(JsonLogFile, HasOneObjectPerLineInTheGivenOrder) {
    JsonLog log = JsonLog::create(path_);
    log.write({{"step", 1}, {"epoch", 0}, {"train_loss", 4.25}});
    EXPECT_EQ(content_of(path_), "{\"step\":1,\"epoch\":0,\"train_loss\":4.25}\n");
    log.write({{"step", 2}, {"text", "a\nb\xFF"}, {"nan", std::nan("")}});
    EXPECT_EQ(content_of(path_), "{\"step\":1,\"epoch\":0,\"train_loss\":4.25}\n"
                                 "{\"step\":2,\"text\":\"a\\nb\uFFFD\",\"nan\":null}\n");
    EXPECT_EQ(error_message<unroll::ValueError>([&] { log.write(nlohmann::ordered_json(3)); }),
              "[JsonLog] a line must be a JSON object");
}

TEST_F(JsonLogFile, ALogThatIsCreatedStartsEmpty) {
    put_content(path_, "{\"step\":1}\n");
    const JsonLog log = JsonLog::create(path_);
    EXPECT_EQ(content_of(path_), "");
    EXPECT_TRUE(read_json_log(path_).empty());
}

TEST_F(JsonLogFile, ResumeCutsWhatCameAfterTheCheckpoint) {
    put_content(path_, "{\"note\":\"start\"}\n{\"step\":10}\n{\"step\":20}\n{\"sample\":\"x\"}\n{\"step\":30}\n{\"st");
    JsonLog log = JsonLog::resume(path_, 20);
    EXPECT_EQ(content_of(path_), "{\"note\":\"start\"}\n{\"step\":10}\n{\"step\":20}\n{\"sample\":\"x\"}\n");
    log.write({{"step", 21}});
    EXPECT_EQ(read_json_log(path_).size(), 5u);
    EXPECT_EQ(read_json_log(path_).back().at("step"), 21);
}

TEST_F(JsonLogFile, ResumeCutsALineThatWasNotFinishedAndMakesAMissingFile) {
    put_content(path_, "{\"step\":10}\n{\"step\":20");
    { const JsonLog log = JsonLog::resume(path_, 100); }
    EXPECT_EQ(content_of(path_), "{\"step\":10}\n");
    std::filesystem::remove(path_);
    JsonLog log = JsonLog::resume(path_, 100);
    log.write({{"step", 101}});
    EXPECT_EQ(content_of(path_), "{\"step\":101}\n");
}

TEST_F(JsonLogFile, AForeignFileIsNamedAndNotTouched) {
    const std::string foreign = "{\"step\":1}\nROMEO.\nBut soft\n";
    put_content(path_, foreign);
    const std::string message = "'" + path_.string() + "' is not a log: line 2 is not a JSON object";
    EXPECT_EQ(error_message<unroll::IoError>([&] { JsonLog::resume(path_, 5); }), message);
    EXPECT_EQ(error_message<unroll::IoError>([&] { read_json_log(path_); }), message);
    EXPECT_EQ(content_of(path_), foreign);
}

TEST_F(JsonLogFile, FilesThatCannotBeOpenedAreNamed) {
    const std::string missing = (folder_ / "no" / "log").string();
    EXPECT_EQ(error_message<unroll::IoError>([&] { JsonLog::create(folder_.path() / "no" / "log"); }),
              "cannot write '" + missing + "': No such file or directory");
    EXPECT_EQ(error_message<unroll::IoError>([&] { JsonLog::create(folder_.path()); }),
              "cannot write '" + folder_.path().string() + "': Is a directory");
    EXPECT_EQ(error_message<unroll::IoError>([&] { read_json_log(path_); }),
              "cannot read '" + path_.string() + "': No such file or directory");
    EXPECT_EQ(error_message<unroll::IoError>([&] { read_json_log(folder_.path()); }),
              "cannot read '" + folder_.path().string() + "': Is a directory");
}

TEST_F(JsonLogFile, AFullDiskIsSaid) {
    JsonLog log = JsonLog::create("/dev/full");
    EXPECT_EQ(error_message<unroll::IoError>([&] {
                  log.write({{"step", 1}});
              }),
              "cannot write '/dev/full': No space left on device");
}

TEST_F(JsonLogFile, ALineThatFailsHalfWayIsTakenBack) {
    EXPECT_TRUE(unroll::test::holds_in_child([&] {
        std::signal(SIGXFSZ, SIG_IGN);
        JsonLog log = JsonLog::create(path_);
        log.write({{"step", 1}});
        const rlimit limit{20, 20};  // bytes a file may have
        ::setrlimit(RLIMIT_FSIZE, &limit);
        return error_message<unroll::IoError>([&] {
                   log.write({{"step", 2}});
               }) == "cannot write '" + path_.string() + "': File too large";
    }));
    EXPECT_EQ(content_of(path_), "{\"step\":1}\n");
}

TEST_F(JsonLogFile, ColumnsSkipLinesWithoutBothNumbers) {
    put_content(path_, "{\"step\":1,\"train_loss\":4.5}\n{\"step\":2,\"train_loss\":null}\n{\"step\":3}\n"
                       "{\"step\":4,\"train_loss\":3.25,\"val_loss\":3.5}\n");
    const auto log = read_json_log(path_);
    const unroll::LogColumn train = unroll::column_of(log, "step", "train_loss");
    EXPECT_EQ(train.x, (std::vector<double>{1, 4}));
    EXPECT_EQ(train.y, (std::vector<double>{4.5, 3.25}));
    EXPECT_EQ(unroll::column_of(log, "step", "val_loss").x, std::vector<double>{4});
}

}  // namespace
