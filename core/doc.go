// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

// Package core runs actors on nodes, in this process, in processes of this machine or of others, and calls them. An actor is
// a Go value with a mailbox; a single call is a batch of one, so that package batch and this one share one way to submit, one way to
// answer and one way to fail.
//
//	var workers = core.Register("worker", NewWorker, core.Method((*Worker).Compute))
//
//	func main() { core.Main(run, core.LocalNodes(8)) }
//
//	func run(ctx context.Context, sys *core.System) error {
//		actors, err := workers.Spawn(ctx, sys, 400, Config{Scale: 2})
//		if err != nil {
//			return err
//		}
//		sum, err := core.Call(ctx, actors[0], (*Worker).Compute, []float32{1, 2}).Get(ctx)
//		fmt.Println(sum)
//		return err
//	}
//
// # Processes
//
// The process that calls Main or Start is the driver. With InProcess, the default, its nodes are inside it. With LocalNodes it
// starts its own executable again, once for every node, with the same arguments; there Main, or ServeNode, serves as a node and does
// not return. A program that calls neither before Start gets ErrNodeRole in its nodes, and the driver hears that they did
// not join. Kinds are registered at package level, so that all processes of one binary agree on them: a node whose kinds,
// methods or types differ is refused with ErrBuild.
//
// With Listen, nodes of other machines join: the same program, started there with TUTTI_ROLE=node and TUTTI_DRIVER, with Join, or by Slurm or
// Kubernetes, which Main recognises; see docs/cluster.md. Start waits for WaitNodes(n) of them. A node that loses its driver joins again under a new
// number, unless the driver has ended; so does one that was started anew. An actor of the old number is never looked for on the new one.
//
// These environment variables are all that processes of a system are told by; they are taken out of the environment of nodes:
//
//	TUTTI_RUNDIR        set by the user: where sockets and shared memory go, by default below /dev/shm
//	TUTTI_ROLE          "node" in a node process
//	TUTTI_NODE          the node's number, from 1, if the driver has started it; the driver is 0
//	TUTTI_DIR           the directory of the system, likewise
//	TUTTI_STORE_LIMIT   what StoreLimit was given, in bytes, likewise
//	TUTTI_DRIVER        address of the driver, "host:port", in any other node; see Join
//	TUTTI_SECRET        who does not know it is not served; see Secret. Without it, drawn at random by every system
//	TUTTI_SECRET_FILE   file that holds the secret
//	TUTTI_LISTEN        see Listen
//	TUTTI_ADVERTISE     see Advertise
//	TUTTI_WAIT_NODES    see WaitNodes
//	TUTTI_TLS_CA        see TLS; likewise TUTTI_TLS_CERT and TUTTI_TLS_KEY
//	TUTTI_TLS_NAME      the name that certificates are valid for, by default "tutti"
//	TUTTI_INSECURE      "yes": see Insecure
//	TUTTI_PORT          port of the driver under Slurm and Kubernetes
//	TUTTI_SERVICE       headless service of the pods of an Indexed Job
//	TUTTI_HOST          set by the user, or by SimulatedHosts for each node: the name of the host in place of the machine's own
//
// A host is a set of nodes that share the directory of their object stores; NodeInfo.Host says which. By default that is the machine, or
// what shares its kernel and its /dev/shm; SimulatedHosts stands several up on one machine.
//
// A node process is collected at 16 MB of heap and not, like other Go programs, at 4 MB, unless GOGC or GOMEMLIMIT is set:
// docs/decisions/0005.
//
// The directory of a killed driver is removed by the last of its nodes on the driver's machine, and on other machines by the last node there. What is left when
// these are killed, too, goes with the next Start of the same user.
//
// # Concurrency
//
// A System, its Handles, Refs and Slots are safe for concurrent use. Calls from one program to one actor run in the order in
// which they were submitted, single calls and batches alike; calls that are submitted at the same time by several goroutines have no
// order. An actor runs one call at a time unless it was spawned with Concurrency(n): calls then still start in order, and the actor
// guards its own state. Calls to different actors run side by side. At most Mailbox(n) calls wait at an actor, a call that runs
// not counted: another one fails, or waits as well with MailboxWait. The bytes under way to a node are bounded by InFlight, at which a
// submission blocks until its context ends.
//
// A call's context ends when the caller's does, with the deadline, when the actor is killed, and when the method returns.
//
// # Several hosts
//
// What is said here holds across hosts. A batch goes to the nodes of the driver's own host directly, and so to a few nodes of others if its argument
// is small. Otherwise the driver sends at most FanOut messages to gateways of other hosts, each for all that is behind it: the other nodes of its host, and
// further gateways. Answers come back the same way, put together. An argument that is too large for a message leaves a host at most FanOut times
// and crosses to every host once, in chunks that are passed on while the rest arrives; its copies serve later calls, until the object is released or
// there is no room. The arguments of SubmitEach go the same way, up to 4 MiB of them in a message for several nodes, and are taken apart by the relays; large ones
// are fetched by their actors' nodes from the driver. A large result stays on the host of its actor until
// somebody needs it elsewhere: Get brings it to the driver, and a call that has it as its argument to the host of the actor.
//
// When a relay dies, or cannot reach a node, the driver sends the calls that have no answer once more, around it. Nodes drop what they have
// got already, so a call runs at most once, and send the answers again that the relay may have died with: up to 16 MiB of them are kept by each
// node. Only if an answer is not kept any longer does its slot fail with ErrNodeLost, though its own node lives. A cast that goes through relays is kept by
// the driver until the nodes have said that they have it, so it runs at every actor whose node lives, at most once, also when relays die.
//
// # Memory
//
// An argument may be changed as soon as the function that submitted it returns. Up to InlineMax bytes, counted once for
// every actor that a batch has on the fullest node, travel in the message, and every call gets a copy of its own. What is larger is put
// once into the object store of the host, and all calls see the same read-only view, valid until the method returns; so is the
// object of CallRef whatever its size. A method must therefore not write to its argument, and copies what it wants to keep. A write to
// a view fails the call with ErrReadOnly and harms nobody, unless it comes from a goroutine that the method has
// started itself: that ends its process. A configuration is always a copy.
//
// A result belongs to whoever gets it: it is decoded anew for every Get. Results of more than InlineMax bytes stay in the store of the
// actor's node until Release, or until nothing refers to them. What Put has made lasts until Release, the end of the
// system or, if no view of it was handed out, until nothing refers to it; Get returns a view that must not be used
// afterwards. Using memory whose time is over can end the process.
//
// # Failure
//
// No call waits for ever: it is answered, or fails when its node is gone, its context ends, or the system is shut down.
//
//	the method returns an error or panics           *ActorError, with the stack of a panic
//	the method returns a context error              *ActorError that matches this error
//	the method writes to a shared argument          *ActorError that matches ErrReadOnly
//	a constructor fails or panics                   *SpawnError; no actor of the Spawn is kept
//	the actor was killed                            ErrActorDead
//	the actor died and may be made anew             ErrActorDead or ErrNodeLost, with ErrMadeAnew, or it runs again if it is Idempotent; see below
//	more calls wait than the mailbox holds          ErrMailboxFull; the call did not run
//	too much is under way to a node                 the submission waits; the context's error, and nothing is sent
//	a message is larger than a frame                ErrTooLarge, which names the bound
//	a name is taken, or nobody has it               ErrNameTaken, ErrNoName
//	a node's process ends                           ErrNodeLost, at once; whether the call ran is unknown
//	a node is stopped, starved or cut off           ErrNodeLost after the timeout of Heartbeat; it is then killed, if this process started it
//	a node cannot be reached while submitting       ErrNodeLost, and ErrNotSubmitted for the rest under FailFast
//	the context ends                                the context's error, and its cause
//	the system is shut down                         ErrClosed
//	an argument or result cannot be encoded         ErrEncode; an argument fails before anything is sent
//	the object store is full                        ErrNoSpace
//	an object was released, or its host died        ErrObjectLost
//	more than 4096 calls come before an earlier one ErrMailboxFull
//	a method, a kind, an option, a batch is wrong   ErrNoMethod, ErrNoKind, ErrInvalid, ErrNoActors, ErrMixed
//	Register is given what cannot work              it panics with a *RegisterError
//	the driver is killed                            its nodes notice at once, drop the calls that wait, end the contexts of those that run, and end; a node whose
//	                                                methods or constructors ignore their contexts does so after 6 s
//	the driver is cut off                           its nodes do the same after the timeout of Heartbeat; those of other machines try to join again for as long
//
// Failures on the way arrive as *CallError, which names actor and method and matches one of the above. An actor's own
// error matches no sentinel but the context errors, ErrReadOnly and those made with NewError, even if it tells of a call that the
// actor made.
//
// # Death and restarts
//
// An actor dies when a method of it panics, other than by writing to a shared argument, or ends its goroutine, if it was spawned with
// Restarts(n): without that, a panic fails the call and leaves the actor as it is. It dies as well with its node. It dies for good with Kill and with its
// n+1st death. Otherwise it is made anew from its configuration, with the same constructor: at once after the first death, 100 ms after the second, and
// after twice as long each further time, up to 10 s. A constructor that fails is another death. Handles, names and Targets stay valid; the state is new, and
// the actor is in no group of package collective any more.
//
// After a panic it is made anew where it was. When its node is lost it is made anew on another: of those that it was confined to with OnNodes, or of
// all, those with the fewest actors. If there is none, it is dead for good. It keeps its ActorID; Handle.Node and ActorInfo say where it lives. A node that is
// lost because it was cut off may run its actors on, until it ends by itself: for so long there may be two. For every Spawn with Restarts the driver keeps the
// configuration until the last of its actors has ended.
//
//	the call that panicked                          *ActorError, always
//	other calls that run, with Concurrency          their contexts end; what they fail with then is ErrActorDead
//	calls that wait at the actor                    ErrActorDead, with the reason
//	calls that ran or waited on a lost node         ErrNodeLost with ErrMadeAnew
//	calls that come while it is made anew           wait in the mailbox; or where they are submitted, until another node has answered that it makes it anew
//
// A call marked Idempotent that runs or waits when its actor dies does not fail: it runs on the next incarnation, wherever that is, from the beginning. It is
// answered once, but what it does may be done twice, and in part; calls that were submitted after it may run before it then. Nothing else is ever run
// again, and no cast.
//
// The driver hears of deaths: an actor that has used its restarts up is in System.Actors no longer, and its name is free, when the caller whose call it failed sees
// the error, or shortly afterwards if the answer came through a relay. How many restarts are left when a node is lost is counted by what the driver has heard.
//
// Tests use InProcess, or package coretest for nodes in processes of their own, which it can kill and stop.
package core
