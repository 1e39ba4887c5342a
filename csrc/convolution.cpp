// The convolutional conditioner of image flows: 3x3, relu, 1x1, relu, 3x3, some images at a time, so that what is between
// the convolutions stays in the cache.
//
// A plane holds one channel of all images of a block. Behind every row of pixels and every image there are zeros: the
// neighbour of a pixel is always as far away as that of any other, every convolution is a matrix product whose inputs are
// planes that begin a little earlier or later, and vectors never look where a row ends.

#include <algorithm>
#include <vector>

#include "parallel.hpp"
#include "product.hpp"

namespace bijecta {

struct ConvNet {
    int64_t images, channels, hidden, outputs, height, width, threads;
    int64_t added;  // hidden images that are added before the first relu: none, one for all, or one for each image
};

constexpr int neighbours = 9;
constexpr int64_t terms_at_once = 72;  // sums of sums lose fewer digits than one long sum
constexpr int64_t block_positions = 1024;  // of a plane, where that is more than one image

struct Grid {
    const int64_t height, width, row = width + 1, image = row * (height + 1), images, positions, margin, stride;

    // A plane is an odd number of cache lines long, so that planes do not compete for the same places in the cache.
    Grid(const ConvNet& net, int64_t images)
        : height(net.height), width(net.width), images(images), positions(round_up(images * image, 64)),
          margin(round_up(row + 1, 16)), stride((round_up(positions + 2 * margin, 16) / 16 | 1) * 16) {}

    int64_t distance(int neighbour) const { return (neighbour / 3 - 1) * row + neighbour % 3 - 1; }

    // Call with the position of every row of pixels and its number among those of all channels and images.
    template <class Row> void each_row(int64_t channels, int64_t count, const Row& call) const {
        for (int64_t n = 0; n < count; ++n)
            for (int64_t c = 0; c < channels; ++c)
                for (int64_t i = 0; i < height; ++i)
                    call(c * stride + n * image + i * row, ((n * channels + c) * height + i) * width);
    }
};

template <class T> struct Planes {
    Planes(const Grid& grid, int64_t channels) : grid(grid), channels(channels), storage(channels * grid.stride) {}

    T* first() { return storage.data() + grid.margin; }

    // There are `given` images, which follow each other again and again.
    void read(const T* from, int64_t count, int64_t given) {
        const int64_t period = given * channels * grid.height * grid.width;
        std::fill(first(), first() + channels * grid.stride - grid.margin, T(0));
        grid.each_row(channels, count, [&](int64_t to, int64_t at) { std::copy_n(from + at % period, grid.width, first() + to); });
    }
    void read(const T* from, int64_t count) { read(from, count, count); }
    void add_to(T* sum, int64_t count) {
        const int64_t period = channels * grid.height * grid.width;
        grid.each_row(channels, count, [&](int64_t from, int64_t at) {
            for (int64_t j = 0; j < grid.width; ++j) sum[at % period + j] += first()[from + j];
        });
    }
    void write(T* to, int64_t count) {
        grid.each_row(channels, count, [&](int64_t from, int64_t at) { std::copy_n(first() + from, grid.width, to + at); });
    }
    std::vector<const T*> here() {
        std::vector<const T*> planes;
        for (int64_t c = 0; c < channels; ++c) planes.push_back(first() + c * grid.stride);
        return planes;
    }
    // Every plane as its neighbours see it, or (sign -1) as it is seen by them.
    std::vector<const T*> around(int sign) {
        std::vector<const T*> planes;
        for (int64_t c = 0; c < channels; ++c)
            for (int k = 0; k < neighbours; ++k) planes.push_back(first() + c * grid.stride + sign * grid.distance(k));
        return planes;
    }

    const Grid& grid;
    const int64_t channels;
    Aligned<T> storage;
};

// What becomes of a product: something is added, a relu, zero where a gate is not positive.
template <class T> struct Finish {
    T* to;
    int64_t stride;
    bool relu;
    const T* gate;
    int64_t gate_stride;
    const T* added = nullptr;

    BIJECTA_INLINE void operator()(int64_t output, int64_t position, Vec<T> z) const {
        if (added) z += load(added + output * stride + position);
        if (relu) z = z < T(0) ? Vec<T>{} : z;
        if (gate) z = load(gate + output * gate_stride + position) <= T(0) ? Vec<T>{} : z;
        store(to + output * stride + position, z);
    }
};

template <class T> using Inputs = std::vector<const T*>;

template <class T, int O>
void multiply_planes(Panel<T> weights, const Inputs<T>& inputs, const T* start, int64_t output, int64_t position, Finish<T> finish) {
    constexpr int L = Vector<T>::lanes, R = vectors_at_once;
    Vec<T> total[O][R];
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o)
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) total[o][r] = start ? splat(start[o]) : Vec<T>{};
    const int64_t depth = inputs.size();
    for (int64_t begin = 0; begin < depth; begin += terms_at_once) {
        const int64_t end = std::min(begin + terms_at_once, depth);
        Vec<T> sum[O][R] = {};
        for (int64_t k = begin; k < end; ++k) {
            Vec<T> in[R];
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) in[r] = load(inputs[k] + position + r * L);
#pragma GCC unroll 8
            for (int o = 0; o < O; ++o) {
                const Vec<T> weight = splat(weights.first[k * weights.by_input + o * weights.by_output]);
#pragma GCC unroll 8
                for (int r = 0; r < R; ++r) sum[o][r] += weight * in[r];
            }
        }
#pragma GCC unroll 8
        for (int o = 0; o < O; ++o)
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) total[o][r] += sum[o][r];
    }
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o)
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) finish(output + o, position + r * L, total[o][r]);
}

// to[o] = finish(start[o] + sum_k weights[k][o] * inputs[k]) at all positions.
template <class T>
void convolve(int64_t outputs, Panel<T> weights, const Inputs<T>& inputs, const T* start, const Grid& grid, Finish<T> finish) {
    for (int64_t position = 0; position < grid.positions; position += vectors_at_once * Vector<T>::lanes) {
        for (int64_t o = 0; o < outputs; o += panel) {
            const Panel<T> part{weights.first + o * weights.by_output, weights.by_input, weights.by_output};
            const T* from = start ? start + o : nullptr;
            switch (outputs - o) {
                case 1: multiply_planes<T, 1>(part, inputs, from, o, position, finish); break;
                case 2: multiply_planes<T, 2>(part, inputs, from, o, position, finish); break;
                case 3: multiply_planes<T, 3>(part, inputs, from, o, position, finish); break;
                case 4: multiply_planes<T, 4>(part, inputs, from, o, position, finish); break;
                case 5: multiply_planes<T, 5>(part, inputs, from, o, position, finish); break;
                default: multiply_planes<T, 6>(part, inputs, from, o, position, finish);
            }
        }
    }
}

// w[o][i] += sum over positions of g[o] * x[i], as many of them at once as a vector has lanes.
template <class T> void add_correlations(const Inputs<T>& g, const Inputs<T>& x, int64_t positions, T* w) {
    constexpr int L = Vector<T>::lanes, X = L > 4 ? 4 : 2, G = L / X;
    const int64_t outputs = g.size(), inputs = x.size();
    for (int64_t o = 0; o < outputs; o += G) {
        for (int64_t i = 0; i < inputs; i += X) {
            const T *from_g[G], *from_x[X];
            for (int a = 0; a < G; ++a) from_g[a] = g[std::min(o + a, outputs - 1)];
            for (int b = 0; b < X; ++b) from_x[b] = x[std::min(i + b, inputs - 1)];
            Vec<T> sum[L] = {};
            for (int64_t p = 0; p < positions; p += L) {
#pragma GCC unroll 8
                for (int a = 0; a < G; ++a)
#pragma GCC unroll 8
                    for (int b = 0; b < X; ++b) sum[a * X + b] += load(from_g[a] + p) * load(from_x[b] + p);
            }
            transpose<T>(sum);
            for (int l = 1; l < L; ++l) sum[0] += sum[l];
            for (int a = 0; a < G && o + a < outputs; ++a)
                for (int b = 0; b < X && i + b < inputs; ++b) w[(o + a) * inputs + i + b] += sum[0][a * X + b];
        }
    }
}

template <class T> void add_sums(const Inputs<T>& g, int64_t positions, T* to) {
    for (std::size_t o = 0; o < g.size(); ++o) {
        Vec<T> sum{};
        for (int64_t p = 0; p < positions; p += Vector<T>::lanes) sum += load(g[o] + p);
        for (int l = 0; l < Vector<T>::lanes; ++l) to[o] += sum[l];
    }
}

// Weights [o][i][k] of a 3x3 convolution as [o][k][i]: those of its transpose.
template <class T> std::vector<T> turn(const T* weights, int64_t outputs, int64_t inputs) {
    std::vector<T> turned(outputs * inputs * neighbours);
    for (int64_t o = 0; o < outputs; ++o)
        for (int64_t i = 0; i < inputs; ++i)
            for (int64_t k = 0; k < neighbours; ++k)
                turned[(o * neighbours + k) * inputs + i] = weights[(o * inputs + i) * neighbours + k];
    return turned;
}

// The six parameters, or their gradients.
template <class T> struct Parameters {
    T *first, *first_bias, *second, *second_bias, *last, *last_bias;
};

// What one worker adds up: the gradients of parameters, and of what is added to all images alike.
template <class T> struct Sums {
    Parameters<T> parameters;
    T* added;
};

// One worker with its planes.
template <class T> struct Block {
    Block(const ConvNet& net, int64_t images, const T* const* given)
        : net(net), grid(net, images), weights{given[0], given[1], given[2], given[3], given[4], given[5]},
          x(grid, net.channels), first(grid, net.hidden), second(grid, net.hidden), out(grid, net.outputs), inside(grid, 1),
          added(grid, net.added ? net.hidden : 0) {
        const std::vector<T> ones(images * net.height * net.width, T(1));
        inside.read(ones.data(), images);
    }

    void run(const T* from, const T* more, int64_t count) {
        x.read(from, count);
        if (more) added.read(more, count, net.added == 1 ? 1 : count);
        convolve<T>(net.hidden, {weights.first, 1, net.channels * neighbours}, x.around(1), weights.first_bias, grid,
                    {first.first(), grid.stride, true, nullptr, 0, more ? added.first() : nullptr});
        convolve<T>(net.hidden, {weights.second, 1, net.hidden}, first.here(), weights.second_bias, grid,
                    {second.first(), grid.stride, true, inside.first(), 0});
    }

    void map(const T* from, const T* more, T* to, int64_t count) {
        run(from, more, count);
        convolve<T>(net.outputs, {weights.last, 1, net.hidden * neighbours}, second.around(1), weights.last_bias, grid,
                    {out.first(), grid.stride, false, nullptr, 0});
        out.write(to, count);
    }

    // The gradients of what is in the planes take its place, from the last to the first.
    void differentiate(const T* from, const T* more, const T* upstream, T* to, T* to_more, int64_t count, Sums<T> all,
                       const T* turned_first, const T* turned_last) {
        const Parameters<T>& sums = all.parameters;
        run(from, more, count);
        out.read(upstream, count);
        add_sums(out.here(), grid.positions, sums.last_bias);
        add_correlations(out.here(), second.around(1), grid.positions, sums.last);
        convolve<T>(net.hidden, {turned_last, net.hidden, 1}, out.around(-1), nullptr, grid,
                    {second.first(), grid.stride, false, second.first(), grid.stride});
        add_sums(second.here(), grid.positions, sums.second_bias);
        add_correlations(second.here(), first.here(), grid.positions, sums.second);
        convolve<T>(net.hidden, {weights.second, net.hidden, 1}, second.here(), nullptr, grid,
                    {first.first(), grid.stride, false, first.first(), grid.stride});
        if (to_more) first.write(to_more, count);
        if (all.added) first.add_to(all.added, count);
        add_sums(first.here(), grid.positions, sums.first_bias);
        add_correlations(first.here(), x.around(1), grid.positions, sums.first);
        convolve<T>(net.channels, {turned_first, net.channels, 1}, first.around(-1), nullptr, grid,
                    {x.first(), grid.stride, false, nullptr, 0});
        x.write(to, count);
    }

    const ConvNet& net;
    const Grid grid;
    const Parameters<const T> weights;
    Planes<T> x, first, second, out, inside, added;
};

// Call work(worker, block, first image, number of images) until all images are done; a worker takes always the same ones.
template <class T, class Work> int64_t each_block(const ConvNet& net, const T* const* weights, const Work& work) {
    const int64_t image = (net.width + 1) * (net.height + 1), share = (net.images + net.threads - 1) / net.threads;
    const int64_t images = std::max<int64_t>(1, std::min(share, block_positions / image));
    const int64_t workers = std::min(net.threads, (net.images + images - 1) / images);
    parallel_workers(workers, [&](int64_t worker) {
        Block<T> block(net, images, weights);
        for (int64_t begin = worker * images; begin < net.images; begin += workers * images)
            work(worker, block, begin, std::min(images, net.images - begin));
    });
    return workers;
}

// From `first` on: what is added to the images of a block.
template <class T> T* added_from(const ConvNet& net, T* added, int64_t first) {
    return added && net.added != 1 ? added + first * net.hidden * net.height * net.width : added;
}

template <class T> void map(const ConvNet& net, const T* const* weights, const T* x, const T* added, T* y) {
    const int64_t pixels = net.height * net.width;
    each_block<T>(net, weights, [&](int64_t, Block<T>& block, int64_t begin, int64_t count) {
        const T* more = added_from(net, added, begin);
        block.map(x + begin * net.channels * pixels, more, y + begin * net.outputs * pixels, count);
    });
}

template <class T>
void differentiate(const ConvNet& net, const T* const* weights, const T* x, const T* added, const T* g_y, T* g_x, T* g_added, T* g_weights) {
    const int64_t pixels = net.height * net.width, h = net.hidden, wide = neighbours * h;
    const bool shared = net.added == 1;
    const int64_t sizes[] = {wide * net.channels, h, h * h, h, wide * net.outputs, net.outputs, shared ? h * pixels : 0};
    int64_t total = 0;
    for (int64_t size : sizes) total += size;
    const std::vector<T> first = turn(weights[0], h, net.channels), last = turn(weights[4], net.outputs, h);
    std::vector<std::vector<T>> sums(net.threads);
    each_block<T>(net, weights, [&](int64_t worker, Block<T>& block, int64_t begin, int64_t count) {
        sums[worker].resize(total);
        T* part[7] = {sums[worker].data()};
        for (int i = 1; i < 7; ++i) part[i] = part[i - 1] + sizes[i - 1];
        const int64_t at = begin * pixels;
        block.differentiate(x + at * net.channels, added_from(net, added, begin), g_y + at * net.outputs, g_x + at * net.channels,
                            shared ? nullptr : added_from(net, g_added, begin), count,
                            {{part[0], part[1], part[2], part[3], part[4], part[5]}, shared ? part[6] : nullptr}, first.data(),
                            last.data());
    });
    const int64_t of_weights = total - sizes[6];
    std::fill_n(g_weights, of_weights, T(0));
    if (shared) std::fill_n(g_added, sizes[6], T(0));
    for (const auto& part : sums) {
        for (int64_t i = 0; i < int64_t(part.size()); ++i) (i < of_weights ? g_weights[i] : g_added[i - of_weights]) += part[i];
    }
}

}  // namespace bijecta

#define BIJECTA_EXPORT extern "C" __attribute__((visibility("default")))

#define BIJECTA_CONVOLUTION(T)                                                                                         \
    BIJECTA_EXPORT void convolution_##T(const bijecta::ConvNet* net, const T* const* weights, const T* x,              \
                                        const T* added, T* y) {                                                        \
        bijecta::map<T>(*net, weights, x, added, y);                                                                   \
    }                                                                                                                  \
    BIJECTA_EXPORT void convolution_gradient_##T(const bijecta::ConvNet* net, const T* const* weights, const T* x,     \
                                                 const T* added, const T* g_y, T* g_x, T* g_added, T* g_weights) {     \
        bijecta::differentiate<T>(*net, weights, x, added, g_y, g_x, g_added, g_weights);                              \
    }

BIJECTA_CONVOLUTION(float)
BIJECTA_CONVOLUTION(double)
