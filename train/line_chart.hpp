// Line charts as SVG files: loss curves and the like. It draws numbers; where they come from is its callers' business.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace unroll {

/// A line through (x, y) in the given order. A value that is not finite, or not positive on a logarithmic axis, makes a gap.
struct Series {
    std::string name;
    std::vector<double> x;
    std::vector<double> y;
    bool points = false;  ///< a dot at each value, for few values: validation losses
    double smoothing =
        0;  ///< in [0, 1): each value becomes the mean of its neighbours, weighed smoothing^distance; the
            ///< values themselves stand faintly behind
};

struct ChartOptions {
    std::string title{};
    std::string subtitle{};
    std::string x_label{};
    std::string y_label{};
    bool log_x = false;
    bool log_y = false;
    bool legend =
        false;         ///< a legend above the chart besides the names at the ends of the lines; always from 7 series on
    int width = 880;   ///< pixels, 240 to 10,000
    int height = 480;  ///< pixels, 160 to 10,000
};

/// A chart with any number of lines. Each line's name and last value stand at its end; colours are told apart by colour-blind
/// readers, and change with the reader's light or dark mode. However many values, the file stays small: of those that fall
/// on one column of pixels the first, lowest, highest and last are drawn.
///
///     LineChart chart({.title = "Tiny Shakespeare", .x_label = "step", .y_label = "nats per character"});
///     chart.add({.name = "train", .x = steps, .y = losses, .smoothing = 0.98});
///     chart.add({.name = "validation", .x = val_steps, .y = val_losses, .points = true});
///     chart.save("loss.svg");
class LineChart {
public:
    /// ValueError: a width or height out of range.
    explicit LineChart(ChartOptions options);

    /// ValueError: x and y of different lengths, or smoothing outside [0, 1).
    LineChart& add(Series series);
    /// A dashed horizontal line to compare with: "5-gram", 1.669. One that is not finite is not drawn.
    LineChart& add_level(std::string name, double y);

    /// The picture as text. Without a value to show it says so in its middle.
    std::string to_svg() const;
    /// Writes the picture, whole or not at all. IoError: as write_file_atomically.
    void save(const std::filesystem::path& path) const;

private:
    struct Level {
        std::string name;
        double y;
    };

    ChartOptions options_;
    std::vector<Series> series_;
    std::vector<Level> levels_;
};

}  // namespace unroll
