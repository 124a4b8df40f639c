// The list of all ops, kept by hand: the tests say which is missing.
#include <unroll/autograd/catalogue.hpp>

namespace unroll {
namespace {

constexpr CatalogueEntry kOps[] = {
    {"add", "elementwise", "a + b"},
    {"sub", "elementwise", "a − b"},
    {"mul", "elementwise", "a·b"},
    {"div", "elementwise", "a/b"},
    {"pow", "elementwise", "aᵇ"},
    {"maximum", "elementwise", "the larger of a and b"},
    {"minimum", "elementwise", "the smaller of a and b"},
    {"neg", "elementwise", "−x"},
    {"exp", "elementwise", "eˣ"},
    {"expm1", "elementwise", "eˣ − 1"},
    {"log", "elementwise", "ln x"},
    {"log1p", "elementwise", "ln(1 + x)"},
    {"sqrt", "elementwise", "√x"},
    {"rsqrt", "elementwise", "1/√x"},
    {"abs", "elementwise", "|x|"},
    {"sign", "elementwise", "−1, 0 or 1"},
    {"square", "elementwise", "x²"},
    {"reciprocal", "elementwise", "1/x"},
    {"sin", "elementwise", "sin x"},
    {"cos", "elementwise", "cos x"},
    {"tanh", "elementwise", "tanh x"},
    {"sigmoid", "elementwise", "1/(1 + e⁻ˣ)"},
    {"erf", "elementwise", "2/√π·∫₀ˣ exp(−t²) dt"},
    {"relu", "elementwise", "max(x, 0)"},
    {"gelu", "elementwise", "x·Φ(x)"},
    {"silu", "elementwise", "x·sigmoid(x)"},
    {"softplus", "elementwise", "ln(1 + eˣ)"},
    {"log_sigmoid", "elementwise", "ln sigmoid(x)"},
    {"leaky_relu", "elementwise", "x for x > 0, else slope·x"},
    {"elu", "elementwise", "x for x > 0, else alpha·(eˣ − 1)"},
    {"clip", "elementwise", "x kept within [low, high]"},
    {"pointwise", "elementwise", "any function of the above as one op"},

    {"matmul", "products", "a·b over the last two axes, batched"},
    {"linear", "products", "x·W + b"},
    {"add_linear", "products", "c + x·W"},

    {"sum", "over axes", "Σ x"},
    {"mean", "over axes", "Σ x / N"},
    {"max", "over axes", "the largest x"},
    {"min", "over axes", "the smallest x"},
    {"logsumexp", "over axes", "ln Σ eˣ"},
    {"var", "over axes", "Σ (x − mean)² / (N − correction)"},
    {"argmax", "over axes", "the position of the largest x", false},

    {"reshape", "shapes", "other lengths of axes, the same elements"},
    {"transpose", "shapes", "two axes exchanged"},
    {"permute", "shapes", "axes in another order"},
    {"squeeze", "shapes", "without an axis of length 1"},
    {"unsqueeze", "shapes", "with a new axis of length 1"},
    {"broadcast_to", "shapes", "repeated along axes of length 1"},
    {"slice", "shapes", "elements begin ≤ i < end along an axis"},
    {"select", "shapes", "element i along an axis"},
    {"split", "shapes", "parts along an axis"},
    {"unbind", "shapes", "all elements along axis 0"},
    {"concat", "shapes", "one behind the other along an axis"},
    {"stack", "shapes", "along a new axis"},
    {"flip", "shapes", "the order of elements reversed along axes"},

    {"gather", "choosing", "x at positions along an axis, one for each element"},
    {"index_select", "choosing", "slices along an axis by position"},
    {"masked_fill", "choosing", "a number where the mask is true, else x"},
    {"where", "choosing", "a where the mask is true, else b"},
    {"embedding", "choosing", "rows of a matrix by token"},
    {"one_hot", "choosing", "1 at the index, else 0", false},

    {"softmax", "normalised and random", "eˣ / Σ eˣ"},
    {"log_softmax", "normalised and random", "x − ln Σ eˣ"},
    {"layer_norm", "normalised and random", "(x − mean)/√(variance + eps)·weight + bias"},
    {"dropout", "normalised and random", "0 with probability p, else x/(1 − p)"},

    {"cross_entropy", "losses", "−ln softmax(logits)[target]"},
    {"nll_loss", "losses", "−log_probs[target]"},
    {"mse_loss", "losses", "(x − target)²"},
    {"l1_loss", "losses", "|x − target|"},
    {"huber_loss", "losses", "d²/2 for |d| ≤ delta, else delta·(|d| − delta/2), with d = x − target"},
    {"bce_with_logits", "losses", "−target·ln sigmoid(x) − (1 − target)·ln(1 − sigmoid(x))"},
};

}  // namespace

std::span<const CatalogueEntry> catalogue() noexcept { return kOps; }

}  // namespace unroll
