// A training run with its folder: checkpoints, model file, log, curve, and what is shown meanwhile.
#include "train.hpp"

#include "corpus.hpp"
#include "default_text.hpp"
#include "evaluate.hpp"
#include "sample.hpp"
#include "trainer.hpp"

#include <unroll/autograd/detail/fnv1a.hpp>
#include <unroll/data/number_text.hpp>
#include <unroll/io/atomic_file.hpp>
#include <unroll/io/checkpoint.hpp>
#include <unroll/layers/metrics.hpp>
#include <unroll/train/cadence.hpp>
#include <unroll/train/early_stopping.hpp>
#include <unroll/train/interrupt.hpp>
#include <unroll/train/json_log.hpp>
#include <unroll/train/line_chart.hpp>
#include <unroll/train/meters.hpp>
#include <unroll/train/progress.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cmath>
#include <cstdio>

namespace shakespeare {

using namespace unroll;
namespace fs = std::filesystem;

namespace {

/// A word as a shell takes it from a command that is pasted there.
std::string shell_word(const std::string& text) {
    constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-+=:,@%";
    if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
    std::string quoted = "'";
    for (const char c : text)
        if (c == '\'')
            quoted += "'\\''";
        else
            quoted += c;
    return quoted + "'";
}

/// "1 layer", "2 layers".
std::string counted(auto number, std::string_view what) {
    return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
}

/// Tells one text from another.
std::uint64_t fingerprint_of(const IntTensor& ids) { return unroll::detail::Fnv1a().take_each(ids).hash; }

constexpr Index kLogEvery = 10;       // steps
constexpr Index kSampleLength = 240;  // characters
constexpr Index kUnmeasured = 2;      // first steps, slower than the others
constexpr Index kMeasured = 8;        // steps at least before their speed is believed
constexpr Index kWithoutEnd = 6000;   // steps whose shares count where a run has no end
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// The files of a run.
struct Folder {
    fs::path path;
    fs::path checkpoint() const { return path / "checkpoint.safetensors"; }
    fs::path model() const { return path / "model.safetensors"; }
    fs::path log() const { return path / "log.jsonl"; }
    fs::path curve() const { return path / "loss.svg"; }

    std::array<fs::path, 4> files() const { return {checkpoint(), model(), log(), curve()}; }

    /// A new run must not replace an older one, nor anything else.
    void claim() const {
        std::error_code error;
        if (fs::exists(checkpoint(), error))
            throw IoError(fmt::format("'{}' holds a run already: go on with it by --resume, or give another --out",
                                      path.string()));
        for (const fs::path& file : files())
            if (fs::exists(file, error))
                throw IoError(
                    fmt::format("'{}' is there already, and would be replaced: give another --out", file.string()));
        fs::create_directories(path, error);
        if (error && !fs::is_directory(path))
            throw IoError(fmt::format("cannot make the folder '{}': {}", path.string(), error.message()));
    }

    /// That there is no place for a file is known before anything is learnt.
    void check() const {
        for (const fs::path& file : files()) check_writable(file);
    }
};

class Run {
public:
    Run(const TrainOptions& options, Corpus corpus, const StateDict* checkpoint)
        : options_(options),
          folder_{options.out},
          corpus_(std::move(corpus)),
          prime_(encode_prime(corpus_.vocabulary, options.prime.value_or(""))),
          trainer_(options.recipe, corpus_.vocabulary.size(), corpus_.train(), options.check_finite),
          stopping_({.patience = options.recipe.patience}) {
        watch_.pause();
        if (options.check_loss && corpus_.split.validation.empty())
            throw WrongUse("--check-loss needs a validation part: --val-fraction must be above 0");
        if (checkpoint)
            resume(*checkpoint);
        else
            folder_.claim();
        folder_.check();
        speed_.emplace(watch_);  // what an earlier process took is not this one's speed
    }

    int operator()(const std::string& program);

private:
    void resume(const StateDict& checkpoint);
    void introduce();
    void measure();
    void set_plan();
    void learn();
    void validate();
    void log(double validation_loss);
    void show_progress();
    void show_sample();
    void save_checkpoint();
    void draw_curve() const;
    double finish(const std::string& program);
    bool is_over() const { return trainer_.finished() || stopping_.should_stop(); }

    const TrainOptions options_;
    const Folder folder_;
    const Corpus corpus_;
    const IntTensor prime_;
    Trainer trainer_;
    EarlyStopping stopping_;
    StateDict best_;  // the model file with the lowest loss so far; empty: none yet
    RunningMean since_log_;
    Stopwatch watch_;
    std::optional<ThroughputMeter> speed_;
    SmoothedLoss smooth_{0.97};
    ProgressBar bar_;
    InterruptGuard interrupt_;
    std::optional<JsonLog> log_;
    std::optional<Every> validation_due_, sample_due_, checkpoint_due_;
    Trainer::Step last_{kNaN, kNaN, kNaN};
    double validation_loss_ = kNaN;  // the last estimate
    Index planned_ = 0;              // steps of the run that the plan was made for
    Index learnt_now_ = 0;           // steps of this process
    double measured_from_ = 0;       // seconds
};

void Run::resume(const StateDict& checkpoint) {
    const auto refuse = [&](const char* difference) {
        throw ValueError(
            fmt::format("'{}' is another text than the run began with: {}", options_.data.string(), difference));
    };
    if (Vocabulary::from_json(checkpoint.json("vocabulary")) != corpus_.vocabulary) refuse("it has other characters");
    trainer_.load_state_dict(checkpoint.sub("trainer"));
    if (checkpoint.json("validation") != fingerprint_of(corpus_.validation())) refuse("its validation part differs");
    stopping_.load_state(checkpoint.json("best_loss"));
    watch_.load_state(checkpoint.json("watch"));
    since_log_.load_state(checkpoint.json("since_log"));
    if (checkpoint.contains_prefix("best")) best_ = checkpoint.sub("best");
}

void Run::introduce() {
    const ModelOptions& m = options_.recipe.model;
    fmt::print("text        {}, {} distinct characters\n", options_.data.string(), corpus_.vocabulary.size());
    fmt::print("            {}\n", corpus_.split.train.describe());
    if (!corpus_.split.validation.empty()) fmt::print("            {}\n", corpus_.split.validation.describe());
    fmt::print("network     {} with {} of {}, embedding {}, {} weights\n", m.cell, counted(m.layers, "layer"), m.hidden,
               m.embed, with_commas(trainer_.store().parameter_count()));
    fmt::print("training    {} of {} a step, {}\n", counted(options_.recipe.batch, "stream"),
               counted(options_.recipe.seq_len, "character"), counted(num_threads(), "thread"));
    fmt::print("folder      {}\n\n", folder_.path.string());
    if (trainer_.steps() > 0) fmt::print("going on after step {}\n", with_commas(trainer_.steps()));
    std::fflush(stdout);
}

/// Finds out how many steps there is time for.
void Run::measure() {
    if (trainer_.total_steps() > 0) return;
    if (learnt_now_ == kUnmeasured) measured_from_ = watch_.seconds();
    const double budget = 60 * options_.recipe.minutes, seconds = watch_.seconds();
    if (learnt_now_ < kUnmeasured + kMeasured) return;
    const double per_second = static_cast<double>(learnt_now_ - kUnmeasured) / std::max(1e-9, seconds - measured_from_);
    const Index affordable =
        trainer_.steps() + static_cast<Index>(std::min(1e12, per_second * std::max(0.0, budget - seconds)));
    // A few seconds make a good measurement; where --steps or --epochs are far below, a rough one will do.
    if (seconds < std::min(4.0, 0.05 * budget) && trainer_.limit() > affordable / 2) return;
    trainer_.set_total_steps(affordable);
    if (trainer_.total_steps() == affordable)
        bar_.print(fmt::format("{} steps: about as many as {} allow at this speed", with_commas(trainer_.total_steps()),
                               counted(options_.recipe.minutes, "minute")));
}

/// Once the number of steps is known, so is when to do what. Where it is to be measured, the plan is made for the most that
/// --steps and --epochs allow, if they do, and again when there is time for fewer.
void Run::set_plan() {
    if (planned_ == trainer_.planned_steps()) return;
    planned_ = trainer_.planned_steps();
    const bool without_end = planned_ == Trainer::kNoLimit;
    if (without_end && trainer_.total_steps() == 0) return;
    const Index steps = without_end ? kWithoutEnd : planned_;
    const auto part = [&](Index parts) { return std::max<Index>(1, (steps + parts - 1) / parts); };
    const Index validate_every = options_.recipe.validate_every < 0 ? part(12) : options_.recipe.validate_every;
    validation_due_.emplace(CadenceOptions{.steps = validate_every});
    sample_due_.emplace(CadenceOptions{.steps = options_.sample_every.value_or(part(5))});
    checkpoint_due_.emplace(CadenceOptions{.steps = options_.checkpoint_every.value_or(validate_every)});
}

void Run::show_progress() {
    const Index planned = trainer_.planned_steps(), step = trainer_.steps();
    const Index total = planned == Trainer::kNoLimit ? 0 : planned;
    ProgressStatus status;
    status.epoch = static_cast<Index>(trainer_.epochs()) + 1;
    if (total > 0) {
        const double passes =
            trainer_.epochs() / static_cast<double>(std::max<Index>(1, step)) * static_cast<double>(total);
        status.epochs = std::max<Index>(1, static_cast<Index>(std::ceil(passes - 1e-9)));
        status.epoch = std::min(status.epoch, status.epochs);
        status.fraction = static_cast<double>(step) / static_cast<double>(total);
        status.seconds_left =
            static_cast<double>((total - step) * trainer_.characters_per_step()) / speed_->per_second();
    }
    status.step = step;
    status.steps = total;
    status.train_loss = smooth_.value();
    status.validation_loss = validation_loss_;
    status.units_per_second = speed_->per_second();
    bar_.update(status);
}

void Run::log(double validation_loss) {
    log_->write({{"step", trainer_.steps()},
                 {"epoch", trainer_.epochs()},
                 {"train_loss", since_log_.mean()},
                 {"val_loss", validation_loss},
                 {"lr", last_.lr},
                 {"grad_norm", last_.gradient_norm},
                 {"chars_per_second", speed_->per_second()},
                 {"seconds", watch_.seconds()}});
    since_log_.reset();
}

/// Estimates the loss, and keeps the model if it is the best so far; without a validation part the last model is the best.
void Run::validate() {
    const Trainer::Evaluating evaluating(trainer_);
    const bool measured = !corpus_.split.validation.empty();
    if (measured) {
        validation_loss_ = evaluate(trainer_.model(), corpus_.validation(), Precision::estimate).loss;
        // Where every value is looked at, the next training step says which one it was.
        if (!std::isfinite(validation_loss_) && options_.check_finite && !trainer_.finished()) return;
        if (!std::isfinite(validation_loss_))
            throw Diverged(fmt::format("training has diverged: the validation loss after step {} is not finite; try a "
                                       "smaller --lr, or --check-finite to see where it begins",
                                       trainer_.steps()));
        if (!stopping_.update(validation_loss_, trainer_.steps())) return;
    }
    const nlohmann::json training{{"step", trainer_.steps()},
                                  {"epoch", trainer_.epochs()},
                                  {"val_loss", measured ? nlohmann::json(validation_loss_) : nlohmann::json()},
                                  {"split", (measured ? corpus_.split.validation : corpus_.split.train).describe()},
                                  {"seed", options_.recipe.seed}};
    best_ = model_state(trainer_.store(), options_.recipe.model, corpus_.vocabulary, options_.recipe.val_fraction,
                        training);
    save_model(folder_.model(), best_);
}

void Run::show_sample() {
    const Trainer::Evaluating evaluating(trainer_);
    RandomStream random(options_.recipe.seed, static_cast<std::uint64_t>(trainer_.steps()));
    std::string text = options_.prime.value_or("");
    generate(trainer_.model(), prime_, kSampleLength, Sampler({.temperature = 0.8}), random, [&](Index id) {
        text += corpus_.vocabulary.decode(id);
        return true;
    });
    bar_.print(fmt::format("\n—— after step {} ——\n{}\n", with_commas(trainer_.steps()), text));
}

void Run::save_checkpoint() {
    StateDict all;
    all.put_json("recipe", options_.recipe);
    nlohmann::json habits = nlohmann::json::object();
    if (options_.checkpoint_every) habits["checkpoint_every"] = *options_.checkpoint_every;
    if (options_.sample_every) habits["sample_every"] = *options_.sample_every;
    if (options_.prime) habits["prime"] = *options_.prime;
    all.put_json("habits", habits);
    try {
        all.put_json("corpus", fs::absolute(options_.data).string());
    } catch (const ValueError&) {  // a path need not be UTF-8, which JSON must be
    }
    all.put_json("vocabulary", corpus_.vocabulary.to_json());
    all.put_json("validation", fingerprint_of(corpus_.validation()));
    all.put_json("best_loss", stopping_.state());
    all.put_json("watch", watch_.state());
    all.put_json("since_log", since_log_.state());
    all.add("trainer", trainer_.state_dict());
    if (!best_.empty()) all.add("best", best_);
    unroll::save_checkpoint(folder_.checkpoint(), all);
}

void Run::draw_curve() const {
    const auto lines = read_json_log(folder_.log());
    const LogColumn train = column_of(lines, "step", "train_loss"), validation = column_of(lines, "step", "val_loss");
    LineChart chart({.title = "Loss of the network",
                     .subtitle = corpus_.split.validation.empty() ? "" : corpus_.split.validation.describe(),
                     .x_label = "step",
                     .y_label = "nats per character"});
    chart.add({.name = "training", .x = train.x, .y = train.y, .smoothing = 0.8});
    if (!validation.x.empty()) chart.add({.name = "validation", .x = validation.x, .y = validation.y, .points = true});
    chart.save(folder_.curve());
}

/// One step, and what is due after it.
void Run::learn() {
    watch_.resume();
    last_ = trainer_.step();
    ++learnt_now_;
    watch_.pause();
    speed_->add(static_cast<double>(trainer_.characters_per_step()));
    smooth_.add(last_.loss);
    since_log_.add(last_.loss);
    measure();
    set_plan();
    const Index step = trainer_.steps();
    const bool validating = validation_due_ && !trainer_.finished() && validation_due_->due(step, 0);
    if (validating) validate();
    if (validating || (step % kLogEvery == 0 && !trainer_.finished())) log(validating ? validation_loss_ : kNaN);
    show_progress();
    if (sample_due_ && !trainer_.finished() && sample_due_->due(step, 0)) show_sample();
    if (checkpoint_due_ && !trainer_.finished() && checkpoint_due_->due(step, 0)) {
        save_checkpoint();
        draw_curve();
    }
}

/// The last measurements; returns the exact loss of the model that is kept.
double Run::finish(const std::string& program) {
    if (best_.empty() || (trainer_.finished() && learnt_now_ > 0)) {
        validate();
        log(validation_loss_);
    }
    save_checkpoint();
    save_model(folder_.model(), best_);
    double loss = kNaN;
    if (!corpus_.split.validation.empty()) {
        const SavedModel kept = read_model(folder_.model());
        loss = evaluate(*kept.model, corpus_.validation(), Precision::exact).loss;
    }
    draw_curve();
    show_progress();
    bar_.finish();
    if (sample_due_ && options_.sample_every != 0) show_sample();
    fmt::print("\n");
    if (std::isfinite(loss))
        fmt::print("validation loss  {:.4f} nats per character ({:.3f} bits), {}\n", loss, bits_per_symbol(loss),
                   corpus_.split.validation.describe());
    fmt::print("model            {} (after step {})\n", folder_.model().string(),
               with_commas(best_.json("training").at("step").get<Index>()));
    fmt::print("loss curve       {}\n", folder_.curve().string());
    fmt::print("write more       {} sample --model {}\n", shell_word(program), shell_word(folder_.path.string()));
    return loss;
}

int Run::operator()(const std::string& program) {
    introduce();
    log_ = trainer_.steps() > 0 ? JsonLog::resume(folder_.log(), trainer_.steps()) : JsonLog::create(folder_.log());
    set_plan();
    while (!is_over() && !interrupt_.requested()) learn();
    if (!is_over()) {
        save_checkpoint();
        draw_curve();
        bar_.finish();
        fmt::print("\nstopped after step {}; go on with: {} train --resume {}\n", with_commas(trainer_.steps()),
                   shell_word(program), shell_word(folder_.path.string()));
        return interrupt_.exit_code();
    }
    const double loss = finish(program);
    if (!options_.check_loss) return 0;
    const bool close = std::abs(loss - *options_.check_loss) <= 0.05 * *options_.check_loss;
    fmt::print("check            {:.4f} is {} 5 % of {:.4f}\n", loss, close ? "within" : "NOT within",
               *options_.check_loss);
    return close ? 0 : 1;
}

}  // namespace

int run(const TrainOptions& given, const std::string& program) {
    if (given.threads > 0) set_num_threads(given.threads);
    TrainOptions options = given;
    std::optional<StateDict> checkpoint;
    if (!options.resume.empty()) {
        const fs::path path = Folder{options.resume}.checkpoint();
        checkpoint = load_checkpoint(path);
        try {
            options.recipe = checkpoint->json("recipe").get<Recipe>();
            const nlohmann::json habits = checkpoint->json("habits");
            const auto keep = [&]<class T>(std::optional<T>& option, const char* name) {
                if (!option && habits.contains(name)) option = habits.at(name).get<T>();
            };
            keep(options.checkpoint_every, "checkpoint_every");
            keep(options.sample_every, "sample_every");
            keep(options.prime, "prime");
            if (options.data.empty()) {
                if (!checkpoint->contains("corpus"))
                    throw WrongUse(fmt::format("'{}' does not say where its text is, for a path that is not UTF-8; "
                                               "give --data FILE",
                                               path.string()));
                options.data = checkpoint->json("corpus").get<std::string>();
            }
        } catch (const nlohmann::json::exception& error) {
            throw IoError(fmt::format("cannot use '{}': its options are not those of this program: {}", path.string(),
                                      error.what()));
        }
    } else if (options.data.empty()) {
        const DefaultText text = default_text();
        fmt::print("corpus      {}\n", text.which);
        options.data = text.path;
    }
    Corpus corpus = read_corpus(options.data, options.recipe.val_fraction);
    return Run(options, std::move(corpus), checkpoint ? &*checkpoint : nullptr)(program);
}

}  // namespace shakespeare
