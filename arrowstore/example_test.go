// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package arrowstore_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/tutti-go/tutti/arrowstore"
)

// temporary returns a store for an example and what removes it.
func temporary() (*arrowstore.Store, func()) {
	base, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	st, err := arrowstore.Open(filepath.Join(base, "store"), arrowstore.Limit(64<<20))
	if err != nil {
		log.Fatal(err)
	}
	return st, func() {
		if err := st.Close(); err != nil {
			log.Fatal(err)
		}
		if err := os.RemoveAll(base); err != nil {
			log.Fatal(err)
		}
	}
}

func ExampleStore_Put() {
	st, closeStore := temporary()
	defer closeStore()
	obj, err := st.Put([]byte("one"), []byte("two"))
	if err != nil {
		log.Fatal(err)
	}
	id := obj.ID() // send this to another process
	obj.Release()

	got, err := st.Get(id)
	if err != nil {
		log.Fatal(err)
	}
	defer got.Release()
	fmt.Println(got.Len(), string(got.Buffer(1)))
	// Output: 2 two
}

func ExampleStore_Create() {
	st, closeStore := temporary()
	defer closeStore()
	w, err := st.Create(3 * 8)
	if err != nil {
		log.Fatal(err)
	}
	defer w.Abort() // does nothing after Seal
	numbers := unsafe.Slice((*float64)(unsafe.Pointer(&w.Bytes()[0])), 3)
	copy(numbers, []float64{1, 2, 3})
	obj, err := w.Seal()
	if err != nil {
		log.Fatal(err)
	}
	view, err := arrowstore.ViewOf[float64](obj)
	if err != nil {
		log.Fatal(err)
	}
	obj.Release() // the view holds it
	defer view.Release()
	fmt.Println(view.Slice())
	// Output: [1 2 3]
}

func ExampleStore_Allocator() {
	st, closeStore := temporary()
	defer closeStore()
	b := array.NewInt64Builder(st.Allocator()) // writes into shared memory
	defer b.Release()
	b.AppendValues([]int64{1, 2, 3}, nil)
	arr := b.NewArray()
	defer arr.Release()

	obj, err := st.PutArray(arr) // copies a description only
	if err != nil {
		log.Fatal(err)
	}
	defer obj.Release()
	same, err := st.Array(obj)
	if err != nil {
		log.Fatal(err)
	}
	defer same.Release()
	fmt.Println(same)
	// Output: [1 2 3]
}
