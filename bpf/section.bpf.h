/* Arrays as data sections: what programs use all the time. An element is an addition away, with no look-up
 * to call or to inline, as an array map has. In the object there is one element; the loader makes them
 * as large as they are to be (src/kernel/map_size.h). */
#ifndef CTNBPF_BPF_SECTION_BPF_H
#define CTNBPF_BPF_SECTION_BPF_H

/* Static, so that the skeleton does not ask those who include it for the types. */
#define CTN_SECTION(name, type) static type name[1] SEC(".data." #name)

/* Element of such an array; `index` must be below its size, which the verifier checks. The compiler must
 * not know where the pointer comes from, nor what it is made of, or it makes it again for each use. */
#define section_at(array, index)           \
  ({                                       \
    typeof(&(array)[0]) element = (array); \
    asm("" : "+r"(element));               \
    element += (index);                    \
    asm("" : "+r"(element));               \
    if (!element) __builtin_unreachable(); \
    element;                               \
  })

#endif
