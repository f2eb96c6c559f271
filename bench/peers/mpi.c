// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// The operations of an MPI library: mpi NAME POINTS SECONDS ROUNDS LIMIT, under its launcher.

#include <mpi.h>
#include <sys/prctl.h>

#include "measure.h"

static const char *algorithm(enum operation op, int i) {
  (void)op;
  return i == 0 ? "default" : NULL;
}

static void run(enum operation op, int a, float *in, float *out, const struct shape *s) {
  (void)a;
  int n = (int)s->block, *counts = s->counts, *places = s->places;
  switch (op) {
    case ALLREDUCE:
      MPI_Allreduce(MPI_IN_PLACE, out, n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
      break;
    case BROADCAST:
      MPI_Bcast(out, n, MPI_FLOAT, 0, MPI_COMM_WORLD);
      break;
    case REDUCE:
      MPI_Reduce(in, out, n, MPI_FLOAT, MPI_SUM, 0, MPI_COMM_WORLD);
      break;
    case REDUCE_SCATTER:
      MPI_Reduce_scatter_block(in, out, n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
      break;
    case ALLGATHER:
      MPI_Allgather(in, n, MPI_FLOAT, out, n, MPI_FLOAT, MPI_COMM_WORLD);
      break;
    case GATHER:
      MPI_Gather(in, n, MPI_FLOAT, out, n, MPI_FLOAT, 0, MPI_COMM_WORLD);
      break;
    case SCATTER:
      MPI_Scatter(in, n, MPI_FLOAT, out, n, MPI_FLOAT, 0, MPI_COMM_WORLD);
      break;
    case ALLTOALL:
      MPI_Alltoall(in, n, MPI_FLOAT, out, n, MPI_FLOAT, MPI_COMM_WORLD);
      break;
    case ALLGATHERV:
      MPI_Allgatherv(in, (int)s->in, MPI_FLOAT, out, counts, places, MPI_FLOAT, MPI_COMM_WORLD);
      break;
    case GATHERV:
      MPI_Gatherv(in, (int)s->in, MPI_FLOAT, out, counts, places, MPI_FLOAT, 0, MPI_COMM_WORLD);
      break;
    case SCATTERV:
      MPI_Scatterv(in, counts, places, MPI_FLOAT, out, (int)s->out, MPI_FLOAT, 0, MPI_COMM_WORLD);
      break;
    case ALLTOALLV:
      MPI_Alltoallv(in, counts, places, MPI_FLOAT, out, counts, places, MPI_FLOAT, MPI_COMM_WORLD);
      break;
    default:
      MPI_Barrier(MPI_COMM_WORLD);
  }
}

static void barrier(void) { MPI_Barrier(MPI_COMM_WORLD); }

static double agree(double value) {
  MPI_Bcast(&value, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
  return value;
}

static void collect(const double *values, int count, double *all) {
  MPI_Gather(values, count, MPI_DOUBLE, all, count, MPI_DOUBLE, 0, MPI_COMM_WORLD);
}

int main(int argc, char **argv) {
  // While they start, members sleep and look again every 100 us. Hundreds of them would take the processors from the few that have something to
  // do; with 20 ms of slack they start in half the time.
  prctl(PR_SET_TIMERSLACK, 20000000, 0, 0, 0);
  MPI_Init(&argc, &argv);
  prctl(PR_SET_TIMERSLACK, 0, 0, 0, 0);
  if (argc != 6) {
    fprintf(stderr, "usage: mpi NAME POINTS SECONDS ROUNDS LIMIT\n");
    return 2;
  }
  struct peer p = {.name = argv[1], .algorithm = algorithm, .run = run, .barrier = barrier, .agree = agree, .collect = collect};
  MPI_Comm_rank(MPI_COMM_WORLD, &p.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &p.members);
  measure(&p, argv[2], atof(argv[3]), atoi(argv[4]), atof(argv[5]));
  MPI_Finalize();
  return 0;
}
