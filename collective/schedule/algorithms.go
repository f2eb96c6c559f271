// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package schedule

// Algorithm is one way to carry out an operation.
type Algorithm struct {
	Name string // unique among those of its operation
	Op   Op
	// Local says that the schedule is an all-gather of whole buffers, one block for each rank, after which every rank does the
	// rest by itself: it combines them in the order of ranks, or picks what is for it.
	Local bool
	// Parted says that the number of parts is a choice: of blocks of a pipeline, or of lanes.
	Parted bool
	// Rooted says that one rank is unlike the others.
	Rooted bool
	// Ordered says that contributions are combined in the order of ranks, if the root is 0: so the reduction need not be
	// commutative.
	Ordered bool

	plan   func(ranks, rank, root, parts int) Schedule
	phases []*Algorithm // whose costs add up, if the algorithm is of two that are known
}

// Plan returns the schedule of one rank. root matters to rooted algorithms, parts to parted ones.
func (a *Algorithm) Plan(ranks, rank, root, parts int) Schedule {
	return a.plan(ranks, rank, root, parts)
}

// BlockBytes returns how many bytes a block of a schedule has on average, if the larger buffer of a rank has size bytes. The larger
// buffer is the only one, or the one with a part for each rank.
func (a *Algorithm) BlockBytes(s Schedule, size int) float64 {
	switch {
	case s.Blocks == 0:
		return 0
	case a.Local:
		return float64(size)
	case a.Op == AllToAll:
		return float64(size) / float64(s.Blocks/s.Ranks)
	default:
		return float64(size) / float64(s.Blocks)
	}
}

// Catalogue holds all algorithms, by operation.
type Catalogue [opEnd][]*Algorithm

// NewCatalogue returns a catalogue of all algorithms of this package. Pointers of one catalogue may be compared.
func NewCatalogue() *Catalogue {
	var c Catalogue
	for _, a := range everything() {
		c[a.Op] = append(c[a.Op], a)
	}
	return &c
}

// Of returns the algorithms of an operation, the safest choice first; none if there is no such operation.
func (c *Catalogue) Of(op Op) []*Algorithm {
	if op >= opEnd {
		return nil
	}
	return c[op]
}

// Lookup returns the algorithm of a name, or nil if the operation has none of that name.
func (c *Catalogue) Lookup(op Op, name string) *Algorithm {
	for _, a := range c.Of(op) {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// Algorithms returns all algorithms of an operation.
func Algorithms(op Op) []*Algorithm { return NewCatalogue().Of(op) }

// Lookup returns the algorithm of a name, or nil if the operation has none of that name.
func Lookup(op Op, name string) *Algorithm { return NewCatalogue().Lookup(op, name) }

// free makes a plan of one without root and parts.
func free(plan func(ranks, rank int) Schedule) func(ranks, rank, root, parts int) Schedule {
	return func(ranks, rank, _, _ int) Schedule { return plan(ranks, rank) }
}

// wide makes a plan in lanes.
func wide(plan func(ranks, rank int) Schedule) func(ranks, rank, root, parts int) Schedule {
	return func(ranks, rank, _, lanes int) Schedule { return plan(ranks, rank).Lanes(lanes) }
}

// to makes a plan of one with a root.
func to(plan func(ranks, rank, root int) Schedule) func(ranks, rank, root, parts int) Schedule {
	return func(ranks, rank, root, _ int) Schedule { return plan(ranks, rank, root) }
}

// flat makes a plan of a tree of radix 4.
func flat(plan func(ranks, rank, root, radix int) Schedule) func(ranks, rank, root, parts int) Schedule {
	return func(ranks, rank, root, _ int) Schedule { return plan(ranks, rank, root, 4) }
}

// TreeAllReduce combines the one block of all ranks at rank 0 and copies the result to all: two binomial trees. Of all ways it
// takes the fewest messages, 2*(ranks-1) over all ranks. Rounds: 2*ceil(log2 ranks).
func TreeAllReduce(ranks, rank int) Schedule {
	return BinomialReduce(ranks, rank, 0).Then(BinomialBroadcast(ranks, rank, 0))
}

// TreeBarrier moves no data: signals go up a binomial tree to rank 0 and down again. Rounds: 2*ceil(log2 ranks).
func TreeBarrier(ranks, rank int) Schedule {
	s := TreeAllReduce(ranks, rank)
	s.Blocks = 0
	at := s.at
	s.at = func(i int) Step {
		st := at(i)
		return Step{Round: st.Round, Send: Transfer{Peer: st.Send.Peer}, Recv: Transfer{Peer: st.Recv.Peer}}
	}
	return s
}

// everything lists all algorithms, the safest choice of each operation first.
func everything() []*Algorithm {
	scatter := &Algorithm{Name: "circulant", Op: ReduceScatter, plan: free(CirculantReduceScatter)}
	gather := &Algorithm{Name: "circulant", Op: AllGather, plan: free(CirculantAllGather)}
	treeReduce := &Algorithm{Name: "binomial", Op: Reduce, Rooted: true, Ordered: true, plan: to(BinomialReduce)}
	treeBroadcast := &Algorithm{Name: "binomial", Op: Broadcast, Rooted: true, plan: to(BinomialBroadcast)}
	treeGather := &Algorithm{Name: "binomial", Op: Gather, Rooted: true, plan: to(BinomialGather)}
	treeScatter := &Algorithm{Name: "binomial", Op: Scatter, Rooted: true, plan: to(BinomialScatter)}
	return []*Algorithm{
		{Name: "circulant", Op: AllReduce, Parted: true, plan: wide(CirculantAllReduce)},
		{Name: "gather", Op: AllReduce, Local: true, Ordered: true, plan: free(CirculantAllGather)},
		{Name: "one-shot", Op: AllReduce, Local: true, Ordered: true, plan: free(DirectAllGather)},
		{Name: "tree", Op: AllReduce, Ordered: true, plan: free(TreeAllReduce), phases: []*Algorithm{treeReduce, treeBroadcast}},
		{Name: "far", Op: AllReduce, Parted: true, plan: wide(FarAllReduce)},
		{Name: "ring", Op: AllReduce, plan: free(RingAllReduce)},
		scatter,
		{Name: "far", Op: ReduceScatter, plan: free(FarReduceScatter)},
		{Name: "ring", Op: ReduceScatter, plan: free(RingReduceScatter)},
		gather,
		{Name: "direct", Op: AllGather, plan: free(DirectAllGather)},
		{Name: "far", Op: AllGather, plan: free(FarAllGather)},
		{Name: "ring", Op: AllGather, plan: free(RingAllGather)},
		treeBroadcast,
		{Name: "4-nomial", Op: Broadcast, Rooted: true, plan: flat(KnomialBroadcast)},
		{Name: "scatter-gather", Op: Broadcast, Rooted: true, plan: to(ScatterBroadcast), phases: []*Algorithm{treeScatter, gather}},
		{Name: "pipeline", Op: Broadcast, Rooted: true, Parted: true, plan: PipelinedBroadcast},
		treeReduce,
		{Name: "4-nomial", Op: Reduce, Rooted: true, Ordered: true, plan: flat(KnomialReduce)},
		{Name: "circulant", Op: Reduce, Rooted: true, plan: to(CirculantReduce), phases: []*Algorithm{scatter, treeGather}},
		{Name: "pipeline", Op: Reduce, Rooted: true, Parted: true, plan: PipelinedReduce},
		treeGather,
		{Name: "4-nomial", Op: Gather, Rooted: true, plan: flat(KnomialGather)},
		{Name: "linear", Op: Gather, Rooted: true, plan: to(LinearGather)},
		treeScatter,
		{Name: "4-nomial", Op: Scatter, Rooted: true, plan: flat(KnomialScatter)},
		{Name: "linear", Op: Scatter, Rooted: true, plan: to(LinearScatter)},
		{Name: "pairwise", Op: AllToAll, plan: free(PairwiseAllToAll)},
		{Name: "bruck", Op: AllToAll, plan: free(BruckAllToAll)},
		{Name: "gather", Op: AllToAll, Local: true, plan: free(CirculantAllGather)},
		{Name: "dissemination", Op: Barrier, plan: free(DisseminationBarrier)},
		{Name: "tree", Op: Barrier, plan: free(TreeBarrier)},
	}
}
