// SPDX-FileCopyrightText: The Tutti Authors
// SPDX-License-Identifier: Apache-2.0

package pool

// list is a doubly linked list whose nodes live in their elements, so that an element can leave from the middle at no cost and nothing
// is allocated. The zero list is empty.
type list[T any] struct {
	front, back *node[T]
	len         int
}

// node is an element's place in at most one list.
type node[T any] struct {
	value      T
	in         *list[T]
	prev, next *node[T]
}

func (l *list[T]) pushBack(n *node[T]) {
	n.in, n.prev, n.next = l, l.back, nil
	if l.back != nil {
		l.back.next = n
	} else {
		l.front = n
	}
	l.back = n
	l.len++
}

func (l *list[T]) pushFront(n *node[T]) { l.insertBefore(n, l.front) }

// insertBefore puts n before an element of the list, or at its back if that is nil.
func (l *list[T]) insertBefore(n, next *node[T]) {
	if next == nil {
		l.pushBack(n)
		return
	}
	n.in, n.prev, n.next = l, next.prev, next
	if n.prev != nil {
		n.prev.next = n
	} else {
		l.front = n
	}
	next.prev = n
	l.len++
}

// popFront takes the first element out. The list must not be empty.
func (l *list[T]) popFront() T {
	n := l.front
	n.leave()
	return n.value
}

// leave takes the element out of the list that it is in, if any.
func (n *node[T]) leave() {
	l := n.in
	if l == nil {
		return
	}
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		l.front = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		l.back = n.prev
	}
	n.in, n.prev, n.next = nil, nil, nil
	l.len--
}

// all returns the values, front to back.
func (l *list[T]) all() []T {
	values := make([]T, 0, l.len)
	for n := l.front; n != nil; n = n.next {
		values = append(values, n.value)
	}
	return values
}
