// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// The operations of Gloo over TCP on loopback: gloo NAME POINTS SECONDS ROUNDS LIMIT RANK MEMBERS DIRECTORY, one process for each
// rank; the directory, which is empty at first, is where they find each other.

#include <gloo/allgather.h>
#include <gloo/allgatherv.h>
#include <gloo/allreduce.h>
#include <gloo/allreduce_bcube.h>
#include <gloo/allreduce_halving_doubling.h>
#include <gloo/alltoall.h>
#include <gloo/alltoallv.h>
#include <gloo/barrier.h>
#include <gloo/broadcast.h>
#include <gloo/gather.h>
#include <gloo/math.h>
#include <gloo/reduce.h>
#include <gloo/reduce_scatter.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/scatter.h>
#include <gloo/transport/tcp/device.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "measure.h"

static std::shared_ptr<gloo::rendezvous::Context> context;
static std::unique_ptr<gloo::Algorithm> made;  // for the algorithms that are bound to their buffers
static int rank_, members_;

static void add(void *c, const void *a, const void *b, size_t n) { gloo::sum<float>(c, a, b, n); }

enum { HALVING_DOUBLING, BCUBE, RING, BCUBE_CLASS };
static const char *const all_reduces[] = {"halving-doubling", "bcube", "ring", "bcube-class", nullptr};

static const char *algorithm(enum operation op, int i) {
  if (op == GATHERV || op == SCATTERV) return nullptr;  // it has none
  bool power = (members_ & (members_ - 1)) == 0;
  if (op == ALLREDUCE && i == RING && members_ > 128) return nullptr;  // the default, which then takes seconds for some KiB
  if (op == ALLREDUCE) return i == BCUBE_CLASS && !power ? nullptr : all_reduces[i];  // bcube-class is wrong for other numbers
  return i == 0 ? (op == REDUCE_SCATTER ? "halving-doubling" : "default") : nullptr;
}

// prepare makes those that Gloo binds to one buffer, which takes a round of messages.
static void prepare(enum operation op, int a, float *in, float *out, const struct shape *s) {
  static float *bound;
  static int with = -1;
  static size_t block; // another size may get the same place
  float *data = op == REDUCE_SCATTER ? in : out;
  int which = op * 8 + a;
  if (made && bound == data && with == which && block == s->block) return;
  made.reset();
  bound = data;
  with = which;
  block = s->block;
  if (op == ALLREDUCE && a == HALVING_DOUBLING) {
    made.reset(new gloo::AllreduceHalvingDoubling<float>(context, {data}, (int)s->block));
  } else if (op == ALLREDUCE && a == BCUBE_CLASS) {
    made.reset(new gloo::AllreduceBcube<float>(context, {data}, (int)s->block));
  } else if (op == REDUCE_SCATTER) {
    std::vector<int> counts(members_, (int)s->block);
    made.reset(new gloo::ReduceScatterHalvingDoubling<float>(context, {data}, (int)s->block * members_, counts));
  }
}

static void all_reduce(int a, float *out, size_t n) {
  if (made) {
    made->run();
    return;
  }
  gloo::AllreduceOptions o(context);
  o.setOutput(out, n);
  o.setReduceFunction(add);
  o.setAlgorithm(a == RING ? gloo::AllreduceOptions::Algorithm::RING : gloo::AllreduceOptions::Algorithm::BCUBE);
  gloo::allreduce(o);
}

static void barrier() {
  gloo::BarrierOptions o(context);
  o.setTag(1);
  gloo::barrier(o);
}

static void scatter(float *in, float *out, size_t n) {
  gloo::ScatterOptions o(context);
  if (rank_ == 0) {
    std::vector<float *> parts;
    for (int r = 0; r < members_; r++) parts.push_back(in + r * n);
    o.setInputs(parts, n);
  }
  o.setOutput(out, n);
  o.setRoot(0);
  gloo::scatter(o);
}

static void run(enum operation op, int a, float *in, float *out, const struct shape *s) {
  size_t n = s->block;
  switch (op) {
    case ALLREDUCE:
      return all_reduce(a, out, n);
    case BROADCAST: {
      gloo::BroadcastOptions o(context);
      o.setOutput(out, n);
      o.setRoot(0);
      return gloo::broadcast(o);
    }
    case REDUCE: {
      gloo::ReduceOptions o(context);
      o.setInput(in, n);
      o.setOutput(out, n);
      o.setReduceFunction(add);
      o.setRoot(0);
      return gloo::reduce(o);
    }
    case REDUCE_SCATTER:
      made->run();
      memcpy(out, in, n * sizeof(float));  // it leaves its part at the beginning
      return;
    case ALLGATHER: {
      gloo::AllgatherOptions o(context);
      o.setInput(in, n);
      o.setOutput(out, n * members_);
      return gloo::allgather(o);
    }
    case GATHER: {
      gloo::GatherOptions o(context);
      o.setInput(in, n);
      if (rank_ == 0) o.setOutput(out, n * members_);
      o.setRoot(0);
      return gloo::gather(o);
    }
    case SCATTER:
      return scatter(in, out, n);
    case ALLTOALL: {
      gloo::AlltoallOptions o(context);
      o.setInput(in, n * members_);
      o.setOutput(out, n * members_);
      return gloo::alltoall(o);
    }
    case ALLGATHERV: {
      gloo::AllgathervOptions o(context);
      o.setInput(in, s->in);
      o.setOutput(out, std::vector<size_t>(s->counts, s->counts + members_));
      return gloo::allgatherv(o);
    }
    case ALLTOALLV: {
      gloo::AlltoallvOptions o(context);
      std::vector<int64_t> counts(s->counts, s->counts + members_);
      o.setInput(in, counts);
      o.setOutput(out, counts);
      return gloo::alltoallv(o);
    }
    default:
      return barrier();
  }
}

static double agree(double value) {
  gloo::BroadcastOptions o(context);
  o.setOutput(&value, 1);
  o.setRoot(0);
  o.setTag(2);
  gloo::broadcast(o);
  return value;
}

static void collect(const double *values, int count, double *all) {
  gloo::GatherOptions o(context);
  o.setInput(const_cast<double *>(values), count);
  if (rank_ == 0) o.setOutput(all, (size_t)members_ * count);
  o.setRoot(0);
  o.setTag(3);
  gloo::gather(o);
}

int main(int argc, char **argv) {
  if (argc != 9) {
    fprintf(stderr, "usage: gloo NAME POINTS SECONDS ROUNDS LIMIT RANK MEMBERS DIRECTORY\n");
    return 2;
  }
  rank_ = atoi(argv[6]);
  members_ = atoi(argv[7]);
  try {
    // Every pair of ranks has a listening socket at first. With one address for all, 400 ranks would need more ports than there are.
    std::string address = "127.0." + std::to_string(1 + rank_ / 250) + "." + std::to_string(1 + rank_ % 250);
    auto device = gloo::transport::tcp::CreateDevice(address.c_str());
    gloo::rendezvous::FileStore store(argv[8]);
    context = std::make_shared<gloo::rendezvous::Context>(rank_, members_);
    context->setTimeout(std::chrono::seconds(120));
    context->connectFullMesh(store, device);
    struct peer p = {argv[1], rank_, members_, algorithm, prepare, run, barrier, agree, collect};
    measure(&p, argv[2], atof(argv[3]), atoi(argv[4]), atof(argv[5]));
    barrier();
  } catch (const std::exception &e) {
    fprintf(stderr, "gloo: rank %d: %s\n", rank_, e.what());
    return 1;
  }
  return 0;
}
