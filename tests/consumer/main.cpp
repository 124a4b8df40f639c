// A user's program, kept small: built against an installed copy by several compilers and flags, and within a project
// that takes the source by add_subdirectory. What the headers leave to the user's compiler (a cell, an elementwise
// function, their number types) must meet the library and compute as it does everywhere.
#include <unroll/unroll.hpp>

#include <fmt/format.h>

using namespace unroll;

template <class Real>
struct LeakyCell {
    static constexpr int kStates = 1;
    Index hidden;
    Linear<Real> input, recurrent;
    LeakyCell(Scope<Real> at, Size in, Size size)
        : hidden(size),
          input(at / "input", {.in_features = in, .out_features = size}),
          recurrent(at / "recurrent", {.in_features = size, .out_features = size, .bias = false}) {}
    Index state_size(int) const { return hidden; }
    State<Real, 1> step(Var<Real> x, State<Real, 1> state) const {
        const auto leak = [](auto a, auto b, auto h) { return 0.25 * h + 0.75 * tanh(a + b); };
        return {pointwise(leak, input(x), recurrent(state[0]), state[0])};
    }
};

template <class Real>
struct Model : Module {
    LSTM<Real> lstm;
    Recurrent<Real, LeakyCell<Real>> leaky;
    Linear<Real> head;
    Model(Scope<Real> at, Size hidden)
        : lstm(at / "lstm", {.input_size = 2, .hidden_size = hidden}),
          leaky(at / "leaky", hidden, hidden),
          head(at / "head", {.in_features = hidden, .out_features = 3}) {}
    Var<Real> operator()(Var<Real> x) const { return head(leaky(lstm(x).output).output); }
};

int main() {
    const auto proof =
        gradcheck([](auto& model, auto x) { return model(x); }, twin<Model>(3), full<double>({4, 2, 2}, 0.7));
    if (!proof) return fmt::print(stderr, "{}\n", proof), 1;

    // It learns a few sequences by heart.
    ParameterStore<float> store(/*seed=*/1);
    const Model<float> model(store, 16);
    Adam<float> optimizer(store, {.lr = 0.02});
    RandomStream random(/*seed=*/7);
    Tensor<float> x = empty<float>({6, 5, 2});
    IntTensor targets = IntTensor::from_shape({6, 5});
    for (float& value : x) value = static_cast<float>(random.normal());
    for (std::int64_t& target : targets) target = random.below(3);
    float first = 0, last = 0;
    for (int step = 0; step < 150; ++step) {
        Tape<float> tape;
        const Var<float> loss = cross_entropy(model(x), targets);
        optimizer.zero_grad();
        backward(loss);
        clip_grad_norm(store, 1);
        optimizer.step();
        last = loss.item();
        if (step == 0) first = last;
    }
    fmt::print("loss {} at first, {} at last\n", first, last);
    return last < first / 10 ? 0 : 1;
}
