// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// What the programs of all peers have in common: the points to measure, the buffers, the clock, the check of the data and the line for
// each point. The line before them is "ready": all members run and have met. A point is an operation, a size, and whether every round gets
// memory that was never used before. Before each round all members meet in a barrier; each takes the time of its own call; the line has the
// least, the mean and the greatest over members of their mean over rounds, and the median over rounds from when the first member begins until
// the last one has ended, in microseconds:
//
//   peer,algorithm,operation,bytes,buffers,members,rounds,min,avg,max,span
//
// bytes is the larger buffer of a member: the whole input of a reduce-scatter, the whole result of a gather. Blocks have at least 4. In
// operations that end with v, odd ranks have or get half of a block, and even ones a block and a half. A point for which its
// operation's share of the time is too short is left out: its line has 0 rounds. collective/benchmark does the same in Go.

#ifndef TUTTI_BENCH_PEERS_MEASURE_H
#define TUTTI_BENCH_PEERS_MEASURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum operation {
  ALLREDUCE, BROADCAST, REDUCE, REDUCE_SCATTER, ALLGATHER, GATHER, SCATTER, ALLTOALL, BARRIER,
  ALLGATHERV, GATHERV, SCATTERV, ALLTOALLV, OPERATIONS
};

static const char *const operation_names[OPERATIONS] = {
    "allreduce", "broadcast", "reduce", "reduce-scatter", "allgather", "gather", "scatter", "alltoall", "barrier",
    "allgatherv", "gatherv", "scatterv", "alltoallv",
};

// shape says how many elements the buffers of a member have. block is what one member has of another, or the whole buffer. Uneven
// operations have the blocks of all members: how many elements, and where they begin.
struct shape {
  size_t block, in, out, checked;
  int *counts, *places;
};

// peer is one library, seen by one member.
struct peer {
  const char *name;
  int rank, members;
  // algorithm returns the name of the i-th way to do an operation, or NULL behind the last.
  const char *(*algorithm)(enum operation op, int i);
  // prepare is told the buffers of the next rounds; may be NULL.
  void (*prepare)(enum operation op, int algorithm, float *in, float *out, const struct shape *s);
  // run does the operation once, with the root at rank 0. Those without in work in out.
  void (*run)(enum operation op, int algorithm, float *in, float *out, const struct shape *s);
  void (*barrier)(void);
  // agree returns what rank 0 called it with.
  double (*agree)(double value);
  // collect copies some values of each member to rank 0.
  void (*collect)(const double *values, int count, double *all);
};

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

// PERIOD is after how many elements values and sums come again. To compute each of 16 MiB takes longer than most operations.
enum { PERIOD = 1024 };

static float value(size_t i, int rank) { return (float)((i & 1023) + rank); }

static float sum(size_t i, int members) { return (float)((i & 1023) * members + (size_t)members * (members - 1) / 2); }

// uneven fills in the blocks of a rank and returns how many elements they have together.
static size_t uneven(struct shape *s, int from, int members) {
  size_t total = 0;
  for (int i = 0; i < members; i++) {
    s->places[i] = (int)total;
    s->counts[i] = (int)((from + i) % 2 == 1 ? s->block - s->block / 2 : s->block + s->block / 2);
    total += s->counts[i];
  }
  return total;
}

static struct shape shape_of(enum operation op, size_t bytes, int rank, int members) {
  static int *room;
  if (room == NULL) room = (int *)calloc(2 * (size_t)members, sizeof(int));
  size_t count = bytes / 4, block = count / members > 0 ? count / members : 1, all = block * members, root = rank == 0;
  struct shape s = {block, 0, 0, 0, room, room + members};
  switch (op) {
    case ALLREDUCE:
    case BROADCAST:
      s.block = s.out = s.checked = count;
      break;
    case REDUCE:
      s.block = s.in = s.out = count; // some libraries work in out at all members
      s.checked = count * root;
      break;
    case REDUCE_SCATTER:
      s.in = all;
      s.out = s.checked = block;
      break;
    case ALLGATHER:
    case GATHER:
      s.in = block;
      s.out = s.checked = op == ALLGATHER ? all : all * root;
      break;
    case SCATTER:
      s.in = all * root;
      s.out = s.checked = block;
      break;
    case ALLTOALL:
      s.in = s.out = s.checked = all;
      break;
    case ALLGATHERV:
    case GATHERV:
      all = uneven(&s, 0, members);
      s.in = s.counts[rank];
      s.out = s.checked = op == ALLGATHERV ? all : all * root;
      break;
    case SCATTERV:
      all = uneven(&s, 0, members);
      s.in = all * root;
      s.out = s.checked = s.counts[rank];
      break;
    case ALLTOALLV: // what a member has for another is what that one expects
      s.in = s.out = s.checked = uneven(&s, rank, members);
      break;
    default:
      s.block = 0;
  }
  return s;
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

struct buffer {
  float *at;
  size_t count;
};

static void unkeep(struct buffer *b) {
  release(b->at, b->count);
  b->at = NULL;
  b->count = 0;
}

// keep makes buffers that are long enough of those that were there before, or anew: to get 400 times 16 MiB from the system takes as long as some
// operations. There is never more kept than one point needs.
static void keep(struct buffer *in, size_t in_count, struct buffer *out, size_t out_count) {
  if (in->count >= in_count && out->count >= out_count) return;
  release(in->at, in->count);
  release(out->at, out->count);
  in->at = allocate(in->count = in_count);
  out->at = allocate(out->count = out_count);
}

static size_t fewer(size_t a, size_t b) { return a < b ? a : b; }

static void fill_one(float *buffer, size_t count, int rank) {
  size_t first = fewer(count, PERIOD);
  for (size_t i = 0; i < first; i++) buffer[i] = value(i, rank);
  for (size_t done = first; done < count; done += first) memcpy(buffer + done, buffer, 4 * fewer(first, count - done));
}

static void fill(const struct peer *p, enum operation op, const struct shape *s, float *in, float *out) {
  fill_one(in, s->in, p->rank);
  if (op == ALLREDUCE || (op == BROADCAST && p->rank == 0)) fill_one(out, s->out, p->rank);
}

// check_run compares a stretch of what a member has in the end with elements of source from begin on; source -1: with the sum over all.
static void check_run(const struct peer *p, enum operation op, const char *algorithm, const float *out, size_t from, size_t length, size_t begin,
                      int source) {
  float want[PERIOD];
  for (size_t i = 0; i < fewer(length, PERIOD); i++) want[i] = source < 0 ? sum(begin + i, p->members) : value(begin + i, source);
  for (size_t done = 0; done < length; done += PERIOD) { // so many at once, as they are in memory
    const float *got = out + from + done;
    if (memcmp(got, want, 4 * fewer(PERIOD, length - done)) == 0) continue;
    size_t i = 0;
    while (i + 1 < fewer(PERIOD, length - done) && got[i] == want[i]) i++;
    fprintf(stderr, "%s %s (%s) of %d members: element %zu at rank %d is %g, want %g\n", p->name, operation_names[op], algorithm, p->members,
            from + done + i, p->rank, got[i], want[i]);
    exit(1);
  }
}

static void check(const struct peer *p, enum operation op, const char *algorithm, const struct shape *s, const float *out) {
  size_t rank = p->rank;
  switch (op) {
    case ALLREDUCE:
    case REDUCE:
      return check_run(p, op, algorithm, out, 0, s->checked, 0, -1);
    case REDUCE_SCATTER:
      return check_run(p, op, algorithm, out, 0, s->checked, rank * s->block, -1);
    case BROADCAST:
      return check_run(p, op, algorithm, out, 0, s->checked, 0, 0);
    case SCATTER:
      return check_run(p, op, algorithm, out, 0, s->checked, rank * s->block, 0);
    case SCATTERV:
      return check_run(p, op, algorithm, out, 0, s->checked, s->places[rank], 0);
    default:
      break;
  }
  if (s->checked == 0) return;
  for (int source = 0; source < p->members; source++) {
    size_t odd = s->block - s->block / 2, even = s->block + s->block / 2;
    if (op == ALLGATHER || op == GATHER) {
      check_run(p, op, algorithm, out, source * s->block, s->block, 0, source);
    } else if (op == ALLTOALL) {
      check_run(p, op, algorithm, out, source * s->block, s->block, rank * s->block, source);
    } else if (op == ALLTOALLV) { // where the block for this rank begins at the source, whose blocks take turns
      size_t begin = source % 2 == 0 ? (rank + 1) / 2 * even + rank / 2 * odd : (rank + 1) / 2 * odd + rank / 2 * even;
      check_run(p, op, algorithm, out, s->places[source], s->counts[source], begin, source);
    } else {
      check_run(p, op, algorithm, out, s->places[source], s->counts[source], 0, source);
    }
  }
}

// MOST is how many rounds a point has at most, WARMUPS how many come before them.
enum { MOST = 200, WARMUPS = 5 };

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// print_point prints the line of what all members have measured: for each the total of its rounds, then when each began, then when each ended.
static void print_point(const struct peer *p, const char *algorithm, enum operation op, size_t bytes, int fresh, int rounds, const double *all) {
  double spans[MOST], least = 1e300, most = 0, mean = 0;
  int each = 1 + 2 * rounds;
  for (int i = 0; i < rounds; i++) {
    double first = all[1 + i], last = 0;
    for (int r = 0; r < p->members; r++) {
      const double *m = all + (size_t)r * each;
      first = m[1 + i] < first ? m[1 + i] : first;
      last = m[1 + rounds + i] > last ? m[1 + rounds + i] : last;
    }
    spans[i] = last - first;
  }
  qsort(spans, rounds, sizeof(double), by_size);
  for (int r = 0; r < p->members; r++) {
    double own = all[(size_t)r * each] / rounds;
    least = own < least ? own : least;
    most = own > most ? own : most;
    mean += own / p->members;
  }
  printf("%s,%s,%s,%zu,%s,%d,%d,%.2f,%.2f,%.2f,%.2f\n", p->name, algorithm, operation_names[op], bytes, fresh ? "fresh" : "reused", p->members,
         rounds, 1e6 * least, 1e6 * mean, 1e6 * most, 1e6 * spans[rounds / 2]);
  fflush(stdout);
}

// measure_point prints the line of one point. It takes about as many seconds as it is given, but some rounds at least. Rounds below 0 warm up,
// as long as they have not taken a quarter of those seconds, and twice unless the first took very long; the shortest of them says how many
// there will be, which it returns.
static int measure_point(struct peer *p, enum operation op, int a, size_t bytes, int fresh, double budget, int fewest) {
  const char *algorithm = p->algorithm(op, a);
  struct shape s = shape_of(op, bytes, p->rank, p->members);
  static struct buffer kept_in, kept_out; // for points that use buffers again
  float *in = NULL, *out = NULL;
  double times[1 + 2 * MOST], begins[MOST], ends[MOST], spent = 0, least = 1e300;
  int rounds = 0, allocated = 0;
  times[0] = 0;
  for (int i = -WARMUPS; i < rounds; i++) {
    if (fresh) {
      unkeep(&kept_in);
      unkeep(&kept_out);
      release(in, s.in);
      release(out, s.out);
      in = allocate(s.in);
      out = allocate(s.out);
    } else if (!allocated) {
      keep(&kept_in, s.in, &kept_out, s.out);
      in = kept_in.at;
      out = kept_out.at;
    }
    allocated = 1;
    int checked = i == -WARMUPS || i == 0 || i == rounds - 1;
    if (fresh || checked) fill(p, op, &s, in, out);
    if (p->prepare != NULL) p->prepare(op, a, in, out, &s);
    p->barrier();
    double begin = seconds();
    p->run(op, a, in, out, &s);
    double end = seconds(), each = 0;
    if (i < 0 || checked) {
      p->barrier(); // else the checks of some would take the processors from those who are not done
      each = seconds() - begin;
    }
    if (checked) check(p, op, algorithm, &s, out);
    if (i < 0) {
      spent += each;
      least = each < least ? each : least;
      int more = i < -1 && spent < (i == -WARMUPS ? 5 * budget : budget / 4);
      rounds = (int)p->agree(more ? 0 : least * MOST < budget ? MOST : budget / least < fewest ? fewest : budget / least);
      if (rounds > 0) i = -1;
      continue;
    }
    begins[i] = begin;
    ends[i] = end;
    times[0] += end - begin;
  }
  if (fresh) {
    release(in, s.in);
    release(out, s.out);
  }
  memcpy(times + 1, begins, rounds * sizeof(double));
  memcpy(times + 1 + rounds, ends, rounds * sizeof(double));
  double *all = (double *)calloc((size_t)p->members * (1 + 2 * rounds), sizeof(double));
  p->collect(times, 1 + 2 * rounds, all);
  if (p->rank == 0) print_point(p, algorithm, op, bytes, fresh, rounds, all);
  free(all);
  return rounds;
}

// span is how long a round of a point of some bytes took, with its part of all that is around them: that of two or three where they are long.
struct span {
  size_t bytes;
  double took;
};

// span_of returns how long a point of some other bytes takes at least, which has two rounds: of long ones in proportion to the bytes.
static double span_of(const struct span *s, size_t bytes) {
  if (bytes < s->bytes) return 0;
  return s->bytes >= 64 << 10 ? 2 * s->took * bytes / s->bytes : 2 * s->took;
}

// point is one of those to measure.
struct point {
  enum operation op;
  size_t bytes;
  int fresh;
};

// parse_points reads "operation:bytes:buffers,..." and returns how many there are.
static int parse_points(const char *list, struct point *points, int room) {
  int n = 0;
  for (const char *at = list; *at != 0 && n < room; n++) {
    char name[32], buffers[16];
    int read = 0;
    if (sscanf(at, "%31[^:]:%zu:%15[^,]%n", name, &points[n].bytes, buffers, &read) != 3) return -1;
    points[n].fresh = strcmp(buffers, "fresh") == 0;
    int op = 0;
    while (op < OPERATIONS && strcmp(operation_names[op], name) != 0) op++;
    if (op == OPERATIONS) return -1;
    points[n].op = (enum operation)op;
    at += read;
    if (*at == ',') at++;
  }
  return n;
}

// measure takes a list of points, the seconds for each, the fewest rounds, and the seconds for all, of which each operation has a share by
// the number of its points. A point is left out if that is over, or would be if it took as long as the one of the size before, by byte where they are long.
static void measure(struct peer *p, const char *list, double budget, int fewest, double limit) {
  static struct point points[1000];
  int n = parse_points(list, points, 1000);
  if (n < 0 || fewest < 1 || fewest > MOST) {
    fprintf(stderr, "%s: no list of points, or no number of rounds from 1 to %d: %s %d\n", p->name, MOST, list, fewest);
    exit(2);
  }
  p->barrier();
  if (p->rank == 0) {
    printf("ready\n");
    fflush(stdout);
  }
  static struct span took[OPERATIONS][8]; // by the last point of each algorithm
  double began = seconds();
  for (int i = 0; i < n; i++) {
    int last = i;
    while (last + 1 < n && points[last + 1].op == points[i].op) last++;
    for (int a = 0; p->algorithm(points[i].op, a) != NULL; a++) {
      struct span *before = &took[points[i].op][a];
      double now = seconds();
      if (limit > 0 && p->agree(now - began + span_of(before, points[i].bytes) > limit * (last + 1) / n)) {
        if (p->rank == 0) {
          printf("%s,%s,%s,%zu,%s,%d,0,0,0,0,0\n", p->name, p->algorithm(points[i].op, a), operation_names[points[i].op], points[i].bytes,
                 points[i].fresh ? "fresh" : "reused", p->members);
          fflush(stdout);
        }
        continue;
      }
      int rounds = measure_point(p, points[i].op, a, points[i].bytes, points[i].fresh, budget, fewest);
      before->bytes = points[i].bytes;
      before->took = (seconds() - now) / (rounds + 1);
    }
  }
}

#endif
