// Model files and checkpoints: what is in them, what is refused, and the row of earlier checkpoints.
#include <unroll/autograd/error.hpp>
#include <unroll/autograd/parameter.hpp>
#include <unroll/io/checkpoint.hpp>
#include <unroll/tests/support/error_message.hpp>
#include <unroll/tests/support/temporary_folder.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <csignal>
#include <string>

#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;

using nlohmann::json;
using unroll::Index;
using unroll::Shape;
using unroll::StateDict;
using unroll::test::content_of;
using unroll::test::error_message;
using unroll::test::holds_in_child;
using unroll::test::io_error;
using unroll::test::put_content;

StateDict state(int step) {
    StateDict inner, dict;
    inner.put("weight", unroll::full<float>(Shape{3, 4}, static_cast<float>(step)));
    inner.put_json("random_streams", {{"drop", {1, 2, step}}});
    dict.add("model", inner);
    dict.put_json("data", {{"window", step}});
    dict.put_scalar("best_loss", std::numeric_limits<double>::infinity());
    return dict;
}

class Checkpoint : public ::testing::Test {
protected:
    Index window_of(const fs::path& path) { return unroll::load_checkpoint(path).json("data")["window"].get<Index>(); }

    unroll::test::TemporaryFolder folder_;
    const fs::path path_ = folder_ / "run.safetensors";
};

TEST_F(Checkpoint, ComesBackAsItWas) {
    unroll::save_checkpoint(path_, state(7));
    const StateDict back = unroll::load_checkpoint(path_);
    EXPECT_EQ(back, state(7));
    EXPECT_EQ(back.sub("model").tensor<float>("weight")(2, 3), 7.0f);
    EXPECT_EQ(back.scalar<double>("best_loss"), std::numeric_limits<double>::infinity());
    EXPECT_EQ(unroll::kind_of(unroll::read_safetensors_info(path_)), "checkpoint");
    EXPECT_EQ(folder_.entries(), 1u);
}

TEST_F(Checkpoint, AModelFileAloneIsEnough) {
    unroll::ParameterStore<float> trained(1), fresh(2);
    const auto build = [](unroll::ParameterStore<float>& store) {
        unroll::Scope<float>(store).parameter(
            "head.weight", Shape{2, 3},
            [](auto values, const Shape&, auto& random) {
                for (float& value : values) value = static_cast<float>(random.normal());
            },
            true);
    };
    build(trained);
    build(fresh);
    StateDict model = unroll::state_dict(trained);
    model.put_json("options", {{"hidden", 2}});
    model.put_json("vocabulary", {{"type", "characters"}, {"characters", "\n aé"}, {"unknown", false}});
    unroll::save_model(path_, model);

    const StateDict read = unroll::load_model(path_);
    EXPECT_EQ(read.json("options")["hidden"], 2);
    EXPECT_EQ(read.json("vocabulary")["characters"], "\n aé");
    unroll::load_state_dict(fresh, read);
    EXPECT_EQ(fresh.at("head.weight").value(), trained.at("head.weight").value());
    // Names and axes are those that PyTorch expects: nothing but the parameters are tensors.
    const unroll::SafetensorsInfo info = unroll::read_safetensors_info(path_);
    ASSERT_EQ(info.tensors.size(), 1u);
    EXPECT_EQ(info.tensors[0].name, "head.weight");
    EXPECT_EQ(info.tensors[0].shape, (Shape{3, 2}));
    EXPECT_EQ(unroll::kind_of(info), "model");
}

TEST_F(Checkpoint, AnotherKindOfFileIsRefused) {
    const std::string before = "cannot read '" + path_.string() + "': ";
    unroll::save_model(path_, state(1));
    EXPECT_EQ(io_error([&] { unroll::load_checkpoint(path_); }), before + "it is a model, not a checkpoint");
    unroll::save_checkpoint(path_, state(1));
    EXPECT_EQ(io_error([&] { unroll::load_model(path_); }), before + "it is a checkpoint, not a model");
    unroll::write_safetensors(path_, state(1));
    EXPECT_EQ(io_error([&] { unroll::load_model(path_); }),
              before + "it is a safetensors file of another program, not a model of unroll");
    EXPECT_EQ(unroll::kind_of(unroll::read_safetensors_info(path_)), "");
    put_content(path_, "First Citizen: Before we proceed any further, hear me speak.");
    EXPECT_EQ(io_error([&] { unroll::load_checkpoint(path_); }),
              before + "it is no safetensors file (its first 8 bytes ask for a header longer than 100,000,000 bytes)");
    fs::remove(path_);
    EXPECT_EQ(io_error([&] { unroll::load_checkpoint(path_); }), before + "No such file or directory");
}

TEST_F(Checkpoint, AnotherVersionOfTheFormatIsRefused) {
    const auto message = [&](const json& mark) {
        StateDict dict;
        dict.put_json("unroll", mark);
        unroll::write_safetensors(path_, dict);
        const std::string text = io_error([&] { unroll::load_checkpoint(path_); });
        const std::string before = "cannot read '" + path_.string() + "': ";
        return text.starts_with(before) ? text.substr(before.size()) : text;
    };
    EXPECT_EQ(message({{"kind", "checkpoint"}, {"version", 1}}),
              "its tensors are not those that were written (wrong checksum)");
    EXPECT_EQ(message({{"kind", "checkpoint"}, {"version", 2}}),
              "it has version 2 of the format, newer than 1, the one that is known");
    EXPECT_EQ(message({{"kind", "checkpoint"}, {"version", 0}}),
              "it has version 0 of the format, older than 1, the one that is known");
    for (const json& version : {json("1"), json(-1), json(1.5), json(nullptr)})
        EXPECT_EQ(message({{"kind", "checkpoint"}, {"version", version}}),
                  "it does not say which version of the format it has");
    EXPECT_EQ(message({{"kind", "checkpoint"}}), "it does not say which version of the format it has");
    for (const json& mark : {json(3), json("checkpoint"), json({{"kind", "song"}, {"version", 1}}), json::array()})
        EXPECT_EQ(message(mark), "it is a safetensors file of another program, not a checkpoint of unroll");
}

TEST_F(Checkpoint, OneBitTurnedOverIsSeen) {
    unroll::save_checkpoint(path_, state(7));
    const std::string whole = content_of(path_);
    const std::size_t data = whole.size() - 12 * 4 - 8;  // the weight and the best loss
    for (std::size_t at = data; at < whole.size(); ++at) {
        std::string broken = whole;
        broken[at] = static_cast<char>(broken[at] ^ 1);
        put_content(path_, broken);
        EXPECT_EQ(io_error([&] { unroll::load_checkpoint(path_); }),
                  "cannot read '" + path_.string() + "': its tensors are not those that were written (wrong checksum)");
    }
    put_content(path_, whole);
    EXPECT_EQ(unroll::load_checkpoint(path_), state(7));
}

TEST_F(Checkpoint, OneBitTurnedOverInTheHeaderIsSeenOrChangesNothing) {
    unroll::save_checkpoint(path_, state(7));
    const std::string whole = content_of(path_);
    for (std::size_t at = 0; at < whole.size(); ++at) {
        std::string broken = whole;
        broken[at] = static_cast<char>(broken[at] ^ 1);
        put_content(path_, broken);
        try {
            EXPECT_EQ(unroll::load_checkpoint(path_), state(7)) << "byte " << at;
        } catch (const unroll::IoError&) {
        }
    }
    std::string drawn = whole;
    const std::size_t counter = whole.find("[1,2,7]");
    ASSERT_NE(counter, std::string::npos);
    drawn[counter + 5] = '6';
    put_content(path_, drawn);
    EXPECT_EQ(io_error([&] { unroll::load_checkpoint(path_); }),
              "cannot read '" + path_.string() + "': its metadata are not those that were written (wrong checksum)");
}

TEST_F(Checkpoint, AFileWithoutAChecksumOfItsMetadataIsRead) {
    unroll::save_checkpoint(path_, state(7));
    const StateDict whole = unroll::read_safetensors(path_);
    json mark = whole.json("unroll");
    EXPECT_EQ(mark.erase("metadata_checksum"), 1u);
    StateDict older = whole.without("unroll");
    older.put_json("unroll", mark);
    unroll::write_safetensors(path_, older);
    EXPECT_EQ(unroll::load_checkpoint(path_), state(7));
}

TEST_F(Checkpoint, TheMarkIsNotTheUsersToSet) {
    StateDict dict;
    dict.put_json("unroll", 1);
    EXPECT_EQ(error_message<unroll::ValueError>([&] { unroll::save_model(path_, dict); }),
              "[StateDict] the name \"unroll\" is taken");
    EXPECT_EQ(folder_.entries(), 0u);
}

TEST_F(Checkpoint, OneIsReplacedAndOthersAreLeftAlone) {
    put_content(folder_ / "run.1.safetensors", "somebody's");
    for (int step = 1; step <= 3; ++step) unroll::save_checkpoint(path_, state(step));
    EXPECT_EQ(window_of(path_), 3);
    EXPECT_EQ(content_of(folder_ / "run.1.safetensors"), "somebody's");
    EXPECT_EQ(folder_.entries(), 2u);
}

TEST_F(Checkpoint, TheNewestAreKeptInTheirOrder) {
    for (int step = 1; step <= 6; ++step) {
        unroll::save_checkpoint(path_, state(step), {.keep = 3});
        EXPECT_EQ(folder_.entries(), static_cast<std::size_t>(std::min(step, 3)));
        EXPECT_EQ(window_of(path_), step);
        for (int back = 1; back < std::min(step, 3); ++back)
            EXPECT_EQ(window_of(folder_ / ("run." + std::to_string(back) + ".safetensors")), step - back);
    }
    unroll::save_checkpoint(path_, state(7), {.keep = 2});
    EXPECT_EQ(folder_.entries(), 2u);
    EXPECT_EQ(window_of(path_), 7);
    EXPECT_EQ(window_of(folder_ / "run.1.safetensors"), 6);
    EXPECT_EQ(error_message<unroll::ValueError>([&] { unroll::save_checkpoint(path_, state(8), {.keep = 0}); }),
              "[save_checkpoint] keep must be at least 1, it is 0");
    EXPECT_EQ(window_of(path_), 7);
}

TEST_F(Checkpoint, AnyNumberMayBeKept) {
    for (int step = 1; step <= 4; ++step)
        unroll::save_checkpoint(path_, state(step), {.keep = std::numeric_limits<Index>::max()});
    EXPECT_EQ(folder_.entries(), 4u);
    for (int back = 1; back <= 3; ++back)
        EXPECT_EQ(window_of(folder_ / ("run." + std::to_string(back) + ".safetensors")), 4 - back);
}

TEST_F(Checkpoint, AGapInTheRowIsFilled) {
    for (int step = 1; step <= 4; ++step) unroll::save_checkpoint(path_, state(step), {.keep = 5});
    fs::remove(folder_ / "run.2.safetensors");
    unroll::save_checkpoint(path_, state(5), {.keep = 5});
    EXPECT_EQ(folder_.entries(), 4u);
    EXPECT_EQ(window_of(folder_ / "run.1.safetensors"), 4);
    EXPECT_EQ(window_of(folder_ / "run.2.safetensors"), 3);
    EXPECT_EQ(window_of(folder_ / "run.3.safetensors"), 1);
}

TEST_F(Checkpoint, ThePathIsNeverWithoutAFile) {
    unroll::save_checkpoint(path_, state(0), {.keep = 2});
    const int events = ::inotify_init1(IN_NONBLOCK);
    if (events < 0 || ::inotify_add_watch(events, folder_.path().c_str(), IN_MOVED_FROM | IN_DELETE) < 0)
        GTEST_SKIP() << "the system watches no folders";
    for (int step = 1; step <= 4; ++step) unroll::save_checkpoint(path_, state(step), {.keep = 2});
    alignas(inotify_event) std::array<char, 16384> buffer;
    const ssize_t size = ::read(events, buffer.data(), buffer.size());
    int seen = 0;
    for (ssize_t at = 0; at < size; ++seen) {
        const auto& event = *reinterpret_cast<const inotify_event*>(buffer.data() + at);
        EXPECT_STRNE(event.name, path_.filename().c_str());
        at += static_cast<ssize_t>(sizeof(inotify_event) + event.len);
    }
    EXPECT_GE(seen, 4);  // the temporary files became the checkpoint
    ::close(events);
}

TEST_F(Checkpoint, ALinkIsFollowedAndTheRowStandsBesideItsTarget) {
    fs::create_directory(folder_ / "disk");
    fs::create_symlink("disk/real.safetensors", path_);
    for (int step = 1; step <= 2; ++step) unroll::save_checkpoint(path_, state(step), {.keep = 2});
    EXPECT_TRUE(fs::is_symlink(path_));
    EXPECT_EQ(window_of(folder_ / "disk" / "real.safetensors"), 2);
    EXPECT_EQ(window_of(folder_ / "disk" / "real.1.safetensors"), 1);
    EXPECT_EQ(folder_.entries(), 2u);
}

TEST_F(Checkpoint, AFailedWriteMovesNothingOn) {
    for (int step = 1; step <= 3; ++step) unroll::save_checkpoint(path_, state(step), {.keep = 3});
    EXPECT_TRUE(holds_in_child([&] {
        std::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{300, 300};  // bytes a file may have
        ::setrlimit(RLIMIT_FSIZE, &limit);
        return io_error([&] { unroll::save_checkpoint(path_, state(4), {.keep = 3}); }) ==
               "cannot write '" + path_.string() + "': File too large";
    }));
    EXPECT_EQ(window_of(path_), 3);
    EXPECT_EQ(window_of(folder_ / "run.1.safetensors"), 2);
    EXPECT_EQ(window_of(folder_ / "run.2.safetensors"), 1);
    EXPECT_EQ(folder_.entries(), 3u);
    EXPECT_EQ(io_error([&] { unroll::save_checkpoint(folder_ / "missing" / "c", state(1), {.keep = 2}); }),
              "cannot write '" + (folder_ / "missing" / "c").string() + "': the folder '" +
                  (folder_ / "missing").string() + "' does not exist");
}

TEST_F(Checkpoint, ErrorsOfPartsNameTheFileAndTheWholeName) {
    unroll::save_checkpoint(path_, state(1));
    const StateDict all = unroll::load_checkpoint(path_);
    EXPECT_EQ(error_message<unroll::ValueError>([&] { all.sub("optimizer"); }),
              "[StateDict] '" + path_.string() +
                  "': there is no entry \"optimizer.…\"; there are \"model.random_streams\", "
                  "\"data\", \"model.weight\", \"best_loss\"");
    EXPECT_EQ(error_message<unroll::ShapeError>([&] {
                  all.sub("model").tensor<float>("weight", Shape{4, 3});
              }),
              "[StateDict] '" + path_.string() + "': \"model.weight\" must have the shape (4, 3); it is F32 (3, 4)");
    unroll::ParameterStore<float> store;
    EXPECT_EQ(error_message<unroll::ValueError>([&] { unroll::load_state_dict(store, all.sub("model")); }),
              "[load_state_dict] '" + path_.string() + "': unexpected: \"weight\"; nothing was changed");
}

}  // namespace
