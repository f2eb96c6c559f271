// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package codec_test

import (
	"fmt"

	"github.com/tutti-go/tutti/internal/codec"
)

func Example() {
	type step struct {
		Epoch int
		Grad  []float32
	}
	c := codec.New()
	v, err := codec.Encode(c, step{Epoch: 3, Grad: make([]float32, 1000)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(v.Meta), "bytes of structure,", len(v.Bufs[0]), "bytes in place")

	flat := codec.AppendValue(nil, v)
	received, err := codec.ParseValue(flat, 1<<20)
	if err != nil {
		fmt.Println(err)
		return
	}
	got, err := codec.Decode[step](c, received, codec.View)
	fmt.Println(got.Epoch, len(got.Grad), err)
	// Output:
	// 5 bytes of structure, 4000 bytes in place
	// 3 1000 <nil>
}
