# The lab's guest: one boot sector that dirties memory at an exact rate, checks
# what it wrote, and sends a heartbeat over the serial port.
#
# Symbols given on the assembler's command line:
#   DIVISOR         PIT divisor: 1193182 / ticks per second
#   PAGES_PER_TICK  pages written at each tick (may be 0)
#   SET_BASE, SET_PAGES    the working set (at least one page)
#   FILL_BASE, FILL_PAGES  memory filled once and then only checked (may be 0)
#
# Write number n goes to page n mod SET_PAGES and stores n at the page's first and
# last word. Before that, the page must hold n - SET_PAGES, which the previous
# round left there: a page that is damaged, stale, lost or swapped with another
# one is counted as an error. All state is in registers, so that damaged memory
# cannot hide itself; it also means that a rebooted guest starts counting anew.
#
#   ebp ticks   ebx n   edi next page   esi errors (saturating at 14 bits)
#
# Frame, 8 bytes, only the first has its top bit set:
#   0x80, tick (4 x 7 bits, low first), errors (2 x 7 bits), xor of the six before

.set PATTERN, 0x5eed1ab5
.set FILL_CURSOR, 0x600
.set FRAME_START, 0x80

.code16
.globl _start
_start:
    cli
    ljmp $0, $1f
1:  xorw %ax, %ax
    movw %ax, %ds
    inb $0x92, %al              # A20 on
    orb $2, %al
    outb %al, $0x92
    movw $0x3fa, %dx            # serial FIFO on: a frame fits into it
    movb $1, %al
    outb %al, %dx
    movb $0x34, %al             # PIT channel 0, rate generator
    outb %al, $0x43
    movb $(DIVISOR & 0xff), %al
    outb %al, $0x40
    movb $(DIVISOR >> 8), %al
    outb %al, $0x40
    movb $0xfe, %al             # timer interrupt only
    outb %al, $0x21
    movb $0xff, %al
    outb %al, $0xa1
    lgdt gdt_pointer
    lidt idt_pointer
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmp $8, $protected

.code32
protected:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $0x7c00, %esp
    cld
.if FILL_PAGES
    movl $FILL_BASE, %edi
    movl %edi, FILL_CURSOR
    movl $(FILL_PAGES * 1024), %ecx
    movl $PATTERN, %eax
    rep stosl
.endif
    movl $SET_BASE, %edi
    movl $-SET_PAGES, %eax
1:  movl %eax, (%edi)
    movl %eax, 4092(%edi)
    addl $4096, %edi
    incl %eax
    jnz 1b
    xorl %ebp, %ebp
    xorl %ebx, %ebx
    xorl %esi, %esi
    movl $SET_BASE, %edi

tick:
    sti
    hlt
    cli
    incl %ebp
    movw $0x3f8, %dx
    movb $FRAME_START, %al
    outb %al, %dx
    pushl %ebx
    xorl %ebx, %ebx
    movl %ebp, %eax
    movl $4, %ecx
    call send
    movl %esi, %eax
    movb $2, %cl
    call send
    movb %bl, %al
    outb %al, %dx
    popl %ebx

.if FILL_PAGES
    movl FILL_CURSOR, %eax
    cmpl $PATTERN, (%eax)
    je 1f
    call damaged
1:  addl $4096, %eax
    cmpl $(FILL_BASE + FILL_PAGES * 4096), %eax
    jb 2f
    movl $FILL_BASE, %eax
2:  movl %eax, FILL_CURSOR
.endif

.if PAGES_PER_TICK
    movl $PAGES_PER_TICK, %ecx
write:
    movl %ebx, %eax
    subl $SET_PAGES, %eax
    cmpl %eax, (%edi)
    jne 1f
    cmpl %eax, 4092(%edi)
    je 2f
1:  call damaged
2:  movl %ebx, (%edi)
    movl %ebx, 4092(%edi)
    incl %ebx
    addl $4096, %edi
    cmpl $(SET_BASE + SET_PAGES * 4096), %edi
    jb 3f
    movl $SET_BASE, %edi
3:  loop write
.endif
    jmp tick

damaged:
    cmpl $0x3fff, %esi          # carry while below
    adcl $0, %esi
    ret

send:                           # ecx groups of 7 bits from eax, low first
    pushl %eax
    andb $0x7f, %al
    xorb %al, %bl
    outb %al, %dx
    popl %eax
    shrl $7, %eax
    loop send
    ret

timer:
    pushl %eax
    movb $0x20, %al
    outb %al, $0x20
    popl %eax
    iret

.balign 8
gdt:
    .quad 0
    .quad 0x00cf9a000000ffff    # flat code
    .quad 0x00cf92000000ffff    # flat data
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long gdt

# Interrupts 8 to 15 stay where the BIOS has them. What lies before the table is
# no gate, so any exception is a triple fault: a reset, seen in the counter.
gates:
    .rept 8
    .word timer_low, 8, 0x8e00, 0
    .endr
idt_pointer:
    .word 16 * 8 - 1
    .long gates - 8 * 8
.set timer_low, 0x7c00 + timer - _start

.org 510
    .word 0xaa55
