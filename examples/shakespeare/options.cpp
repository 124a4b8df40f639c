// The command line, by CLI11.
#include "options.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <vector>

namespace shakespeare {
namespace {

template <class Number>
std::optional<Number> number_of(const std::string& text) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

constexpr Index kLargeCount = Index{1} << 40;
constexpr Index kLargeSize = Index{1} << 20;  // products of sizes stay far from the end of 64 bits

/// A whole number in [low, high].
CLI::Validator whole(Index low, Index high = kLargeCount) {
    return {[=](std::string& text) -> std::string {
                const auto value = number_of<Index>(text);
                if (value && *value >= low && *value <= high) return {};
                if (value && *value > high) return fmt::format("must be at most {}, not {}", high, text);
                return fmt::format("must be a whole number of {} or more, not '{}'", low, text);
            },
            ""};
}

/// A finite number for which `holds`.
CLI::Validator real(const char* range, bool (*holds)(double)) {
    return {[=](std::string& text) -> std::string {
                const auto value = number_of<double>(text);
                if (value && std::isfinite(*value) && holds(*value)) return {};
                return fmt::format("must be a number {}, not '{}'", range, text);
            },
            ""};
}

const CLI::Validator kNotNegative = real("of 0 or more", [](double x) { return x >= 0; });
const CLI::Validator kPositive = real("above 0", [](double x) { return x > 0; });
const CLI::Validator kFraction = real("in [0, 1)", [](double x) { return x >= 0 && x < 1; });
const CLI::Validator kShare = real("in (0, 1]", [](double x) { return x > 0 && x <= 1; });

const CLI::Validator kNamed([](std::string& text) { return std::string(text.empty() ? "must not be empty" : ""); }, "");

CLI::Validator one_of(std::vector<std::string> names) {
    const std::string list = fmt::format("{}", fmt::join(names, ", "));
    return {[=](std::string& text) -> std::string {
                if (std::find(names.begin(), names.end(), text) != names.end()) return {};
                return fmt::format("must be one of {}, not '{}'", list, text);
            },
            ""};
}

/// What --help calls the value of an option.
template <class T>
constexpr const char* type_name() {
    return std::is_integral_v<T> ? "N" : std::is_floating_point_v<T> ? "X" : "NAME";
}

/// An option with a default that --help shows.
template <class T>
CLI::Option* option(CLI::App& app, const std::string& name, T& value, const std::string& help,
                    const CLI::Validator& check) {
    return app.add_option(name, value, help)->transform(check)->capture_default_str()->type_name(type_name<T>());
}
template <class T>
CLI::Option* option(CLI::App& app, const std::string& name, std::optional<T>& value, const std::string& help,
                    const CLI::Validator& check) {
    return app.add_option(name, value, help)->transform(check)->type_name(type_name<T>());
}

/// A run's folder stands for the model in it.
void find_model(std::filesystem::path& model) {
    std::error_code ignored;
    if (std::filesystem::is_directory(model, ignored)) model /= "model.safetensors";
}

/// Escapes in --prime, so that a shell's user can give line ends: \n, \t, \\.
CLI::Validator escapes() {
    return {[](std::string& text) -> std::string {
                std::string out;
                for (std::size_t i = 0; i < text.size(); ++i) {
                    if (text[i] != '\\' || i + 1 == text.size()) {
                        out += text[i];
                        continue;
                    }
                    const char next = text[++i];
                    if (next == 'n')
                        out += '\n';
                    else if (next == 't')
                        out += '\t';
                    else if (next == '\\')
                        out += '\\';
                    else
                        (out += '\\') += next;
                }
                text = out;
                return std::string();
            },
            ""};
}

/// Where the learning rate and the weight decay start from when they are not given: what suits one optimiser ruins another.
struct Customary {
    const char* optimizer;
    double lr, weight_decay;
};
constexpr Customary kCustomary[] = {{"adamw", 4e-3, 0.01}, {"adam", 4e-3, 0},    {"sgd", 0.3, 0},
                                    {"rmsprop", 2e-3, 0},  {"adagrad", 2e-2, 0}, {"adadelta", 1, 0}};

/// The options of `train`; returns those that a resumed run cannot change.
std::vector<CLI::Option*> add_train(CLI::App& app, TrainOptions& o) {
    Recipe& r = o.recipe;
    app.add_option("--data", o.data,
                   "text to learn from, UTF-8 (not given: tiny Shakespeare from the cache, or a play)")
        ->check(kNamed)
        ->type_name("FILE");
    app.add_option("--resume", o.resume, "go on with the run in this folder")->check(kNamed)->type_name("DIR");
    std::vector<CLI::Option*> fixed{app.add_option("--out", o.out, "folder of the run (not given: shakespeare-run)")
                                        ->check(kNamed)
                                        ->type_name("DIR")};
    const auto add = [&](const char* name, auto& value, const char* help, const CLI::Validator& check) {
        fixed.push_back(option(app, name, value, help, check));
    };
    add("--cell", r.model.cell, "lstm, gru or rnn", one_of({"lstm", "gru", "rnn"}));
    add("--hidden", r.model.hidden, "hidden numbers of each layer", whole(1, kLargeSize));
    add("--layers", r.model.layers, "recurrent layers", whole(1, kLargeSize));
    add("--embed", r.model.embed, "numbers that stand for a character", whole(1, kLargeSize));
    add("--dropout", r.model.dropout, "after every recurrent layer", kFraction);
    add("--batch", r.batch, "streams of text side by side", whole(1, kLargeSize));
    add("--seq-len", r.seq_len, "characters of each stream in one step", whole(1, kLargeSize));
    add("--epochs", r.epochs, "stop after so many passes over the text (0: no limit)", kNotNegative);
    fixed.push_back(app.add_option("--minutes", r.minutes,
                                   "stop after about so long: as many steps as the first ones promise (0: no limit; "
                                   "not given: 3 if there is neither --epochs nor --steps)")
                        ->transform(kNotNegative)
                        ->type_name("X"));
    add("--steps", r.steps, "stop after so many steps (0: no limit)", whole(0));
    std::vector<std::string> optimizers;
    for (const Customary& custom : kCustomary) optimizers.push_back(custom.optimizer);
    add("--optimizer", r.optimizer, "adamw, adam, sgd, rmsprop, adagrad or adadelta", one_of(optimizers));
    add("--lr", r.lr, "highest learning rate (not given: what suits the optimizer)", kNotNegative);
    add("--schedule", r.schedule, "cosine (down to 0 at the end), linear or constant",
        one_of({"cosine", "linear", "constant"}));
    fixed.push_back(
        app.add_option("--warmup", r.warmup,
                       "steps in which the learning rate rises (not given: 100, but at most a tenth of all)")
            ->transform(whole(0))
            ->type_name("N"));
    add("--weight-decay", r.weight_decay, "(not given: 0.01 for adamw, otherwise 0)", kNotNegative);
    add("--clip", r.clip, "largest norm of the gradient (0: no clipping)", kNotNegative);
    add("--average", r.average, "decay of a moving average of the weights, which is what is kept (0: none)", kFraction);
    add("--val-fraction", r.val_fraction, "share of the text, at its end, that is not learnt from", kFraction);
    add("--seed", r.seed, "of initial weights and dropout", whole(0));
    fixed.push_back(
        app.add_option("--validate-every", r.validate_every, "steps (not given: 12 times; 0: at the end alone)")
            ->transform(whole(0))
            ->type_name("N"));
    add("--patience", r.patience, "validations without improvement after which to stop (0: never)", whole(0));
    option(app, "--threads", o.threads, "0: as many as there are processors", whole(0, 1024));
    option(app, "--checkpoint-every", o.checkpoint_every,
           "steps (not given: with each validation; 0: at the end alone)", whole(0));
    option(app, "--sample-every", o.sample_every, "steps (not given: 5 times; 0: never)", whole(0));
    app.add_option("--prime", o.prime, "text that samples go on from")->transform(escapes())->type_name("TEXT");
    option(app, "--check-loss", o.check_loss,
           "exit code 1 unless the kept model's validation loss is within 5 % of this", kPositive);
    app.add_flag("--check-finite", o.check_finite,
                 "name the operation where infinite values or NaN first appear (slower)");
    return fixed;
}

void finish_train(const CLI::App& app, TrainOptions& o, const std::vector<CLI::Option*>& fixed) {
    if (!o.resume.empty()) {
        for (const CLI::Option* option : fixed)
            if (option->count() > 0)
                throw WrongUse(fmt::format("{} cannot be changed by a resumed run; leave it out", option->get_name()));
        o.out = o.resume;
        return;
    }
    for (const Customary& custom : kCustomary) {
        if (o.recipe.optimizer != custom.optimizer) continue;
        if (app.get_option("--lr")->count() == 0) o.recipe.lr = custom.lr;
        if (app.get_option("--weight-decay")->count() == 0) o.recipe.weight_decay = custom.weight_decay;
    }
    if (o.recipe.patience > 0 && (o.recipe.val_fraction == 0 || o.recipe.validate_every == 0))
        throw WrongUse("--patience counts validations: --val-fraction and --validate-every must be above 0");
    if (o.out.empty()) o.out = "shakespeare-run";
    if (o.recipe.steps == 0 && o.recipe.epochs == 0 && app.get_option("--minutes")->count() == 0) o.recipe.minutes = 3;
}

}  // namespace

std::optional<Command> read_command_line(int argc, const char* const* argv) {
    CLI::App app("A recurrent network that learns to write like its text, character by character.", "shakespeare");
    app.require_subcommand(1);
    app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    TrainOptions train;
    SampleOptions sample;
    EvalOptions eval;
    InspectOptions inspect;

    CLI::App& train_app = *app.add_subcommand("train", "learn from a text");
    const std::vector<CLI::Option*> fixed = add_train(train_app, train);

    CLI::App& sample_app = *app.add_subcommand("sample", "write text");
    sample_app.add_option("--model", sample.model, "model file, or the folder of a run")->required()->type_name("FILE");
    sample_app.add_option("--prime", sample.prime, "text to go on from (not given: a new line)")
        ->transform(escapes())
        ->type_name("TEXT");
    option(sample_app, "--length", sample.length, "characters to write", whole(0));
    option(sample_app, "--temperature", sample.temperature,
           "below 1: more careful, 0: always the likeliest; above 1: wilder", kNotNegative);
    option(sample_app, "--top-k", sample.top_k, "choose among the k likeliest characters (0: among all)", whole(0));
    option(sample_app, "--top-p", sample.top_p, "choose among the likeliest that together have this probability",
           kShare);
    option(sample_app, "--seed", sample.seed, "the same seed writes the same text", whole(0));

    CLI::App& eval_app = *app.add_subcommand("eval", "measure the loss on a text, as one line of JSON");
    eval_app.add_option("--model", eval.model, "model file, or the folder of a run")->required()->type_name("FILE");
    eval_app.add_option("--data", eval.data, "text, UTF-8")->required()->type_name("FILE");
    option(eval_app, "--split", eval.split, "part of the text, cut as it was in training",
           one_of({"train", "val", "all"}));
    option(eval_app, "--threads", eval.threads, "0: as many as there are processors", whole(0, 1024));

    CLI::App& inspect_app = *app.add_subcommand("inspect", "say what a model file holds");
    inspect_app.add_option("--model,model", inspect.model, "model file or checkpoint, or the folder of a run")
        ->required()
        ->type_name("FILE");

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {
            app.exit(error);
            return std::nullopt;
        }
        const auto chosen = app.get_subcommands();
        if (chosen.empty())
            throw WrongUse("a subcommand is required: train, sample, eval or inspect (see shakespeare --help)");
        throw WrongUse(fmt::format("{} (see shakespeare {} --help)", error.what(), chosen[0]->get_name()));
    }
    if (train_app.parsed()) {
        finish_train(train_app, train, fixed);
        return train;
    }
    if (sample_app.parsed()) {
        find_model(sample.model);
        return sample;
    }
    if (eval_app.parsed()) {
        find_model(eval.model);
        return eval;
    }
    find_model(inspect.model);
    return inspect;
}

}  // namespace shakespeare
