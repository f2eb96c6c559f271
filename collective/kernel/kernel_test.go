// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func allTypes() []Type {
	var all []Type
	for t := I8; t < typeEnd; t++ {
		all = append(all, t)
	}
	return all
}

func allOps() []Op { return []Op{Sum, Prod, Min, Max, And, Or, Xor} }

func (o Op) String() string {
	return [...]string{"none", "sum", "prod", "min", "max", "and", "or", "xor", "end", "scale", "quotient"}[o]
}

func (t Type) String() string {
	return [...]string{"none", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f16", "bf16", "f32", "f64", "c64", "c128"}[t]
}

// bitsOf are the bits of values in which a wrong order, a lost bit or a wrong rounding shows.
func bitsOf(t Type) []uint64 {
	switch t {
	case F16:
		return []uint64{0, 0x8000, 1, 0x8001, 0x3ff, 0x400, 0x3c00, 0xbc00, 0x3c01, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xfe55, 0x3555, 0x6800}
	case BF16:
		return []uint64{0, 0x8000, 1, 0x8001, 0x7f, 0x80, 0x3f80, 0xbf80, 0x3f81, 0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x7fc0, 0x7f81, 0xffd5, 0x3eaa, 0x4b80}
	case F32, C64:
		return []uint64{0, 1 << 31, 1, 1<<31 + 1, 0x7fffff, 0x800000, 0x3f800000, 0xbf800000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, nan32, 0x7f800001, 0xffc12345, 0x4b800001}
	case F64, C128:
		return []uint64{0, 1 << 63, 1, 1<<63 + 1, 1<<52 - 1, 1 << 52, 0x3ff0000000000000, 0xbff0000000000000, 0x7fefffffffffffff, 0xffefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000, nan64, 0x7ff0000000000001, 0xfff8123456789abc}
	default:
		return []uint64{0, 1, 2, 3, 1 << 63, 1 << 31, 1 << 15, 1 << 7, math.MaxUint64, math.MaxInt64, math.MaxInt32, math.MaxInt16, math.MaxInt8, math.MaxUint64 - 1}
	}
}

// draw fills memory with elements: special ones, any bits, and numbers near 1, whose sums and products stay finite.
func draw(rng *rand.Rand, t Type, n int) []byte {
	size := t.Size()
	if t >= C64 {
		size /= 2 // the parts
		n *= 2
	}
	special := bitsOf(t)
	b := make([]byte, 0, size*n+8)
	for range n {
		v := rng.Uint64()
		switch rng.IntN(4) {
		case 0:
			v = special[rng.IntN(len(special))]
		case 1:
		default:
			switch x := rng.NormFloat64(); t {
			case F16:
				v = uint64(NewFloat16(float32(x)))
			case BF16:
				v = uint64(NewBFloat16(float32(x)))
			case F32, C64:
				v = uint64(math.Float32bits(float32(x)))
			case F64, C128:
				v = math.Float64bits(x)
			default:
			}
		}
		b = binary.LittleEndian.AppendUint64(b, v)[:len(b)+size] // the machines that tests run on are all of this order
	}
	return b
}

// shifted copies b to an address that is by so much beyond a multiple of 64.
func shifted(b []byte, by int) []byte {
	room := make([]byte, len(b)+128)
	to := -int(uintptr(unsafe.Pointer(&room[0])))&63 + by
	return room[to : to+copy(room[to:], b)]
}

// eachKernel runs a test for all sets of instructions of this machine, and all reductions and types.
func eachKernel(t *testing.T, sets []instructions, test func(t *testing.T, k Kernel)) {
	t.Helper()
	for _, set := range sets {
		t.Run(set.name, func(t *testing.T) {
			for _, op := range allOps() {
				for _, typ := range allTypes() {
					if k, ok := of(op, typ, set); ok {
						t.Run(fmt.Sprint(op, "/", typ), func(t *testing.T) { test(t, k) })
					}
				}
			}
		})
	}
}

// agree folds sources of n elements, wherever they lie, in both ways, and wants the same bits, and nothing written beyond.
func agree(t *testing.T, k Kernel, rng *rand.Rand, pool []byte, n, sources, align int, stream bool) {
	t.Helper()
	srcs := make([][]byte, sources)
	for i := range srcs {
		from := rng.IntN(len(pool)/k.size-n) * k.size
		srcs[i] = shifted(pool[from:from+n*k.size], (align+i*rng.IntN(64))%64)
	}
	want := make([]byte, n*k.size)
	k.foldGo(want, srcs, 0, len(want))
	room := shifted(bytes.Repeat([]byte{0xa5}, 64*k.size+len(want)+64), 0)
	first := align % 64 * k.size
	dst := room[first : first+len(want)]
	k.Fold(dst, srcs, stream)
	if !bytes.Equal(want, dst) {
		at := 0
		for want[at] == dst[at] {
			at++
		}
		at -= at % k.size
		in := make([][]byte, sources)
		for i, s := range srcs {
			in[i] = s[at : at+k.size]
		}
		require.Failf(t, "wrong element", "element %d of %d, %d sources, alignment %d, stream %v: %x, want %x, from %x",
			at/k.size, n, sources, align, stream, dst[at:at+k.size], want[at:at+k.size], in)
	}
	for i, b := range room {
		if (i < first || i >= first+len(dst)) && b != 0xa5 {
			require.Failf(t, "wrote beyond", "byte %d around element 0 to %d at %d", i, n, first)
		}
	}
}

// Every length up to some vectors more than a turn of the long loop, and every alignment.
func TestAssemblyEqualsGoBitForBit(t *testing.T) {
	eachKernel(t, sets()[1:], func(t *testing.T, k Kernel) {
		if k.step == 0 { // NEON has no product of 64 bits, and none of complex numbers was written for it
			require.True(t, runtime.GOARCH == "arm64" && k.op == Prod && k.size >= 8, "there is no code")
		}
		rng := rand.New(rand.NewPCG(uint64(k.op), uint64(k.typ)))
		longest := 18*max(k.step, 8)/k.size + 3
		pool := draw(rng, k.typ, 4*longest+64)
		for n := 1; n <= longest; n++ {
			agree(t, k, rng, pool, n, 2+n%3, rng.IntN(64), n%5 == 0)
		}
		for align := range 64 {
			for _, stream := range []bool{false, true} {
				agree(t, k, rng, pool, longest, 2, align, stream)
				agree(t, k, rng, pool, longest/2, 5, align, stream)
			}
		}
	})
}

// More than one call of assembly can take, and more sources than bytes of it.
func TestLongFoldsAreCutIntoCalls(t *testing.T) {
	for _, set := range sets()[1:] {
		for _, typ := range []Type{F16, F32, I8, C128} {
			k, ok := of(Sum, typ, set)
			require.True(t, ok)
			rng := rand.New(rand.NewPCG(7, uint64(typ)))
			pool := draw(rng, typ, maxCall/k.size+200)
			agree(t, k, rng, pool, maxCall/k.size+77, 3, 4, true)
			agree(t, k, rng, pool, 300, 1500, 4, false)
			agree(t, k, rng, pool, 80, 5000, 4, false)
		}
	}
}

func TestCombineIsAFoldIntoTheFirst(t *testing.T) {
	eachKernel(t, sets(), func(t *testing.T, k Kernel) {
		rng := rand.New(rand.NewPCG(5, uint64(k.typ)))
		for _, n := range []int{0, 1, 7, 300} {
			dst, src, want := draw(rng, k.typ, n), shifted(draw(rng, k.typ, n+1), 1), make([]byte, n*k.size)
			k.Fold(want, [][]byte{dst, src}, false)
			k.Combine(dst, src)
			require.Equal(t, want, dst)
		}
	})
}

func TestOneSourceIsCopied(t *testing.T) {
	k, _ := Of(Sum, F32)
	src, dst := []byte{1, 2, 3, 0xff, 5}, make([]byte, 4)
	k.Fold(dst, [][]byte{src}, true)
	assert.Equal(t, src[:4], dst)
}

func TestLengthsAreChecked(t *testing.T) {
	k, _ := Of(Sum, F64)
	assert.PanicsWithValue(t, "kernel: dst has 9 bytes, which are no whole elements of 8", func() { k.Combine(make([]byte, 9), make([]byte, 9)) })
	assert.PanicsWithValue(t, "kernel: source 1 has 15 bytes, dst has 16", func() { k.Combine(make([]byte, 16), make([]byte, 15)) })
	assert.Panics(t, func() { k.Fold(make([]byte, 8), nil, false) })
}

func TestOnlyWhatMakesSenseHasAKernel(t *testing.T) {
	for _, typ := range allTypes() {
		for _, op := range allOps() {
			_, ok := Of(op, typ)
			want := op <= Prod || op <= Max && typ < C64 || typ.isInteger()
			assert.Equal(t, want, ok, "%v of %v", op, typ)
		}
	}
	for _, bad := range []struct {
		op  Op
		typ Type
	}{{0, F32}, {Sum, 0}, {scale, F32}, {opEnd, F32}, {Sum, typeEnd}} {
		_, ok := Of(bad.op, bad.typ)
		assert.False(t, ok, "%d of %d", bad.op, bad.typ)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	for _, typ := range []Type{F32, F16, I8, C64} {
		k, _ := Of(Sum, typ)
		dst, src := make([]byte, 4096), make([]byte, 4097)
		assert.Zero(t, testing.AllocsPerRun(10, func() {
			k.Combine(dst, src[1:])
			Scale(typ, dst, 2)
		}), "%v", typ)
	}
}

func TestStreamCopies(t *testing.T) {
	src := make([]byte, 5000)
	for i := range src {
		src[i] = byte(i * 7)
	}
	for _, n := range []int{0, 1, 63, 64, 255, 256, 300, 4096, 4999} {
		for _, at := range []int{0, 1, 3, 64} {
			dst := make([]byte, n+at+1)
			Stream(dst[at:at+n], src[1:])
			if !bytes.Equal(dst[at:at+n], src[1:1+n]) || dst[at+n] != 0 {
				t.Errorf("%d bytes at %d are not copied, or the byte behind is written", n, at)
			}
		}
	}
}
