// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// What the programs of all peers have in common: the points to measure, the buffers, the clock, the check of the data and the line for
// each point. A point is an operation, a size, and whether every round gets memory that was never used before. Before each round
// all members meet in a barrier; each takes the time of its own call; the line has the least, the mean and the greatest over members of
// their mean over rounds, and the median over rounds from when the first member begins until the last one has ended, in microseconds:
//
//   peer,algorithm,operation,bytes,mode,members,rounds,min,avg,max,span
//
// bytes is the larger buffer of a member: the whole input of a reduce-scatter, the whole result of a gather. Blocks have at least 4.

#ifndef TUTTI_BENCH_PEERS_MEASURE_H
#define TUTTI_BENCH_PEERS_MEASURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum operation { ALLREDUCE, BROADCAST, REDUCE, REDUCE_SCATTER, ALLGATHER, GATHER, SCATTER, ALLTOALL, BARRIER, OPERATIONS };

static const char *const operation_names[OPERATIONS] = {
    "allreduce", "broadcast", "reduce", "reduce-scatter", "allgather", "gather", "scatter", "alltoall", "barrier",
};

// peer is one library, seen by one member.
struct peer {
  const char *name;
  int rank, members;
  // algorithm returns the name of the i-th way to do an operation, or NULL behind the last.
  const char *(*algorithm)(enum operation op, int i);
  // prepare is told the buffers of the next rounds; may be NULL.
  void (*prepare)(enum operation op, int algorithm, float *in, float *out, size_t block);
  // run does the operation once, with the root at rank 0. Those without in work in out.
  void (*run)(enum operation op, int algorithm, float *in, float *out, size_t block);
  void (*barrier)(void);
  // agree returns what rank 0 called it with.
  double (*agree)(double value);
  // collect copies the value of each member to rank 0.
  void (*collect)(double value, double *all);
};

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

static float value(size_t i, int rank) { return (float)(i % 1000 + rank); }

static float sum(size_t i, int members) { return (float)((i % 1000) * members + (size_t)members * (members - 1) / 2); }

// expected is element i of out of a rank, if it has any.
static float expected(enum operation op, size_t i, int rank, int members, size_t block) {
  switch (op) {
    case ALLREDUCE:
    case REDUCE:
      return sum(i, members);
    case BROADCAST:
      return value(i, 0);
    case REDUCE_SCATTER:
      return sum(rank * block + i, members);
    case ALLGATHER:
    case GATHER:
      return value(i % block, (int)(i / block));
    case SCATTER:
      return value(rank * block + i, 0);
    default:
      return value(rank * block + i % block, (int)(i / block));
  }
}

// shape says how many elements the buffers of a member have. block is what one member has of another, or the whole buffer.
struct shape {
  size_t block, in, out, checked;
};

static struct shape shape_of(enum operation op, size_t bytes, int rank, int members) {
  size_t count = bytes / 4, block = count / members > 0 ? count / members : 1, all = block * members;
  switch (op) {
    case ALLREDUCE:
    case BROADCAST:
      return (struct shape){count, 0, count, count};
    case REDUCE:
      return (struct shape){count, count, count, rank == 0 ? count : 0};
    case REDUCE_SCATTER:
      return (struct shape){block, all, block, block};
    case ALLGATHER:
      return (struct shape){block, block, all, all};
    case GATHER:
      return (struct shape){block, block, rank == 0 ? all : 0, rank == 0 ? all : 0};
    case SCATTER:
      return (struct shape){block, rank == 0 ? all : 0, block, block};
    case ALLTOALL:
      return (struct shape){block, all, all, all};
    default:
      return (struct shape){0, 0, 0, 0};
  }
}

static float *allocate(size_t count) {
  if (count == 0) return NULL;
  void *p = mmap(NULL, count * 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  return (float *)p;
}

static void release(float *p, size_t count) {
  if (p != NULL) munmap(p, count * 4);
}

static void fill(const struct peer *p, enum operation op, struct shape s, float *in, float *out) {
  for (size_t i = 0; i < s.in; i++) in[i] = value(i, p->rank);
  if (op == ALLREDUCE || (op == BROADCAST && p->rank == 0)) {
    for (size_t i = 0; i < s.out; i++) out[i] = value(i, p->rank);
  }
}

static void check(const struct peer *p, enum operation op, const char *algorithm, struct shape s, const float *out) {
  for (size_t i = 0; i < s.checked; i++) {
    float want = expected(op, i, p->rank, p->members, s.block);
    if (out[i] != want) {
      fprintf(stderr, "%s %s (%s) of %d members: element %zu of %zu at rank %d is %g, want %g\n", p->name, operation_names[op], algorithm,
              p->members, i, s.checked, p->rank, out[i], want);
      exit(1);
    }
  }
}

// MOST is how many rounds a point has at most.
enum { MOST = 200 };

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// span is the median over rounds of the time from the first begin to the last end; 0 but at rank 0.
static double span(struct peer *p, const double *begins, const double *ends, int rounds, double *all) {
  double spans[MOST];
  for (int i = 0; i < rounds; i++) {
    p->collect(begins[i], all);
    double first = all[0], last = 0;
    for (int r = 0; r < p->members; r++) first = all[r] < first ? all[r] : first;
    p->collect(ends[i], all);
    for (int r = 0; r < p->members; r++) last = all[r] > last ? all[r] : last;
    spans[i] = last - first;
  }
  qsort(spans, rounds, sizeof(double), by_size);
  return spans[rounds / 2];
}

// measure_point prints the line of one point. It takes about as many seconds as it is given, but at least two rounds.
static void measure_point(struct peer *p, enum operation op, int a, size_t bytes, int fresh, double budget) {
  const char *algorithm = p->algorithm(op, a);
  struct shape s = shape_of(op, bytes, p->rank, p->members);
  float *in = NULL, *out = NULL;
  double total = 0, begins[MOST], ends[MOST];
  int rounds = 2, allocated = 0;
  for (int i = -1; i < rounds; i++) { // the round before the first warms up, and says how many there will be
    if (fresh || !allocated) {
      release(in, s.in);
      release(out, s.out);
      in = allocate(s.in);
      out = allocate(s.out);
      allocated = 1;
    }
    if (fresh || i <= 0 || i == rounds - 1) fill(p, op, s, in, out);
    if (p->prepare != NULL) p->prepare(op, a, in, out, s.block);
    p->barrier();
    double begin = seconds();
    p->run(op, a, in, out, s.block);
    double end = seconds(), each = 0;
    if (i <= 0 || i == rounds - 1) {
      p->barrier(); // else the checks of some would take the processors from those who are not done
      each = seconds() - begin;
      check(p, op, algorithm, s, out);
    }
    if (i < 0) {
      rounds = (int)p->agree(each * MOST < budget ? MOST : budget / each < 2 ? 2 : budget / each);
      continue;
    }
    begins[i] = begin;
    ends[i] = end;
    total += end - begin;
  }
  release(in, s.in);
  release(out, s.out);
  double *all = (double *)calloc(p->members, sizeof(double));
  double until_last = span(p, begins, ends, rounds, all);
  p->collect(total / rounds, all);
  if (p->rank == 0) {
    double least = all[0], most = all[0], mean = 0;
    for (int r = 0; r < p->members; r++) {
      if (all[r] < least) least = all[r];
      if (all[r] > most) most = all[r];
      mean += all[r] / p->members;
    }
    printf("%s,%s,%s,%zu,%s,%d,%d,%.2f,%.2f,%.2f,%.2f\n", p->name, algorithm, operation_names[op], bytes, fresh ? "fresh" : "reused", p->members,
           rounds, 1e6 * least, 1e6 * mean, 1e6 * most, 1e6 * until_last);
    fflush(stdout);
  }
  free(all);
}

static int listed(const char *list, const char *word) {
  size_t n = strlen(word);
  for (const char *at = list; (at = strstr(at, word)) != NULL; at += n) {
    if ((at == list || at[-1] == ',') && (at[n] == ',' || at[n] == 0)) return 1;
  }
  return 0;
}

// measure takes lists with commas: operations, sizes in bytes, modes; and the seconds for each point.
static void measure(struct peer *p, const char *operations, const char *sizes, const char *modes, double budget) {
  for (int op = 0; op < OPERATIONS; op++) {
    if (!listed(operations, operation_names[op])) continue;
    for (const char *at = sizes; *at != 0;) {
      char *end;
      size_t bytes = strtoull(at, &end, 10);
      at = *end == ',' ? end + 1 : end;
      for (int fresh = 0; fresh < 2; fresh++) {
        if (!listed(modes, fresh ? "fresh" : "reused")) continue;
        if (op == BARRIER && (fresh || strtoull(sizes, NULL, 10) != bytes)) continue;
        for (int a = 0; p->algorithm((enum operation)op, a) != NULL; a++) {
          measure_point(p, (enum operation)op, a, op == BARRIER ? 0 : bytes, fresh, budget);
        }
      }
    }
  }
}

#endif
