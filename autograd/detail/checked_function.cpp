// Functions under check: what they hold, and the names of their arguments.
#include <unroll/autograd/detail/checked_function.hpp>

#include <cctype>

namespace unroll::detail {

template <class Real>
CheckedBody<Real>::CheckedBody(std::uint64_t seed) : seed_(seed) {}

template <class Real>
CheckedBody<Real>::~CheckedBody() = default;

template <class Real>
ParameterStore<Real>& CheckedBody<Real>::add_store() {
    return *stores_.emplace_back(std::make_unique<ParameterStore<Real>>(seed_ + stores_.size()));
}

template <class Real>
void add_output(const Var<Real>& output, std::vector<Var<Real>>& out) {
    out.push_back(output);
}

CheckedFunction::CheckedFunction() = default;
CheckedFunction::CheckedFunction(CheckedFunction&&) noexcept = default;
CheckedFunction& CheckedFunction::operator=(CheckedFunction&&) noexcept = default;
CheckedFunction::~CheckedFunction() = default;

void CheckedFunction::add_input(const CheckInput& input) { inputs.push_back(input); }

void CheckedFunction::add_input(const Var<double>& value) {
    const Tensor<double> shared = value.value();
    inputs.push_back({.value = shared});  // a copy
}

void CheckedFunction::add_values(const std::function<void(ParameterStore<double>&)>& given) { values.push_back(given); }

void CheckedFunction::name_inputs(std::string_view text, std::initializer_list<bool> real) {
    // Pieces between commas that stand in no bracket.
    std::vector<std::string> pieces;
    std::string piece;
    int depth = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '"' && (i == 0 || text[i - 1] != '\\')) quoted = !quoted;
        if (!quoted && (c == '(' || c == '[' || c == '{')) ++depth;
        if (!quoted && (c == ')' || c == ']' || c == '}')) --depth;
        if (!quoted && depth == 0 && c == ',') {
            pieces.push_back(std::move(piece));
            piece.clear();
        } else if (!piece.empty() || !std::isspace(static_cast<unsigned char>(c))) {
            piece += c;
        }
    }
    pieces.push_back(std::move(piece));
    // Before the arguments stand the function and perhaps options. Anything else was cut in the wrong places.
    if (pieces.size() != real.size() + 1 && pieces.size() != real.size() + 2) return;
    const std::size_t first = pieces.size() - real.size();
    constexpr std::size_t kLongest = 40;
    std::size_t input = 0;
    for (std::size_t i = 0; i < real.size(); ++i) {
        if (!real.begin()[i]) continue;
        CheckInput& named = inputs[input++];
        if (named.name.empty() && pieces[first + i].size() <= kLongest) named.name = pieces[first + i];
    }
}

#define UNROLL_INSTANTIATE(R)      \
    template class CheckedBody<R>; \
    template void add_output(const Var<R>&, std::vector<Var<R>>&);
UNROLL_INSTANTIATE(float)
UNROLL_INSTANTIATE(double)
UNROLL_INSTANTIATE(Dual<double>)
#undef UNROLL_INSTANTIATE

}  // namespace unroll::detail
