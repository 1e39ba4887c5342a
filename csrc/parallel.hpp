// Work in chunks on the threads that torch already has.
//
// A second thread pool beside torch's would fight it for the cores. So no OpenMP is linked here: `GOMP_parallel`, the
// stable entry point of the OpenMP runtime that torch has loaded into this process, is looked up when first needed. If
// there is none (or one thread is asked for, or the work is small), everything runs on the calling thread.

#pragma once

#include <dlfcn.h>

#include <atomic>
#include <cstdint>

namespace bijecta {

template <class Chunk> struct Queue {
    const Chunk& chunk;
    int64_t count, step;
    std::atomic<int64_t> next{0};

    void drain() {
        for (int64_t begin; (begin = next.fetch_add(step)) < count;) {
            chunk(begin, begin + step < count ? begin + step : count);
        }
    }
};

using ParallelRegion = void (*)(void (*)(void*), void*, unsigned, unsigned);

inline ParallelRegion find_parallel_region() { return (ParallelRegion)dlsym(RTLD_DEFAULT, "GOMP_parallel"); }

// Call chunk(begin, end) until [0, count) is covered; each call has at most `step` elements.
template <class Chunk> inline void parallel_for(int64_t count, int64_t step, int threads, const Chunk& chunk) {
    Queue<Chunk> queue{chunk, count, step};
    const int64_t chunks = (count + step - 1) / step;
    const int64_t useful = chunks / 2 < threads ? chunks / 2 : threads;  // at least two chunks per thread
    static const ParallelRegion region = find_parallel_region();
    if (useful < 2 || !region) return queue.drain();
    region([](void* shared) { static_cast<Queue<Chunk>*>(shared)->drain(); }, &queue, unsigned(useful), 0);
}

// Call work(worker) once for every worker, on as many threads as there are to be had.
template <class Work> inline void parallel_workers(int64_t workers, const Work& work) {
    const auto one = [&](int64_t begin, int64_t) { work(begin); };
    Queue<decltype(one)> queue{one, workers, 1};
    static const ParallelRegion region = find_parallel_region();
    if (workers < 2 || !region) return queue.drain();
    region([](void* shared) { static_cast<Queue<decltype(one)>*>(shared)->drain(); }, &queue, unsigned(workers), 0);
}

}  // namespace bijecta
