// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// The operations of an MPI library: mpi NAME OPERATIONS SIZES MODES SECONDS, under its launcher.

#include <mpi.h>

#include "measure.h"

static const char *algorithm(enum operation op, int i) {
  (void)op;
  return i == 0 ? "default" : NULL;
}

static void run(enum operation op, int a, float *in, float *out, size_t block) {
  (void)a;
  int n = (int)block;
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
    default:
      MPI_Barrier(MPI_COMM_WORLD);
  }
}

static void barrier(void) { MPI_Barrier(MPI_COMM_WORLD); }

static double agree(double value) {
  MPI_Bcast(&value, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
  return value;
}

static void collect(double value, double *all) { MPI_Gather(&value, 1, MPI_DOUBLE, all, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD); }

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  if (argc != 6) {
    fprintf(stderr, "usage: mpi NAME OPERATIONS SIZES MODES SECONDS\n");
    return 2;
  }
  struct peer p = {.name = argv[1], .algorithm = algorithm, .run = run, .barrier = barrier, .agree = agree, .collect = collect};
  MPI_Comm_rank(MPI_COMM_WORLD, &p.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &p.members);
  measure(&p, argv[2], argv[3], argv[4], atof(argv[5]));
  MPI_Finalize();
  return 0;
}
