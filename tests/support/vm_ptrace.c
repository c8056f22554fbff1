/*
 * Lets User-mode Linux run on processors that it does not know.
 *
 * It saves the registers of its processes in a buffer for AVX-512, 2,696 bytes, and sets them from it. A kernel takes no
 * set that is shorter than that of its processor, and says EFAULT: one with AMX has 11,008 bytes. Loaded before the C
 * library, this passes on what the buffer has, and the rest as it is in the process.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

long ptrace(enum __ptrace_request request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	long pid = va_arg(arguments, long);
	void *address = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);

	/* The system call itself writes what it peeks at to where data points. */
	long peeked;
	int peeks = request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER;
	long result = syscall(SYS_ptrace, (long)request, pid, address, peeks ? &peeked : data);
	if (peeks)
		return result < 0 ? result : (errno = 0, peeked);

	if (result < 0 && errno == EFAULT && request == PTRACE_SETREGSET && (long)address == NT_X86_XSTATE) {
		/* Not on the stack, of which the kernel has 16 KiB. It has one processor, so no two calls meet here. */
		static char all[16384] __attribute__((aligned(64)));
		struct iovec *part = data;
		struct iovec whole = {all, sizeof all};
		if (syscall(SYS_ptrace, (long)PTRACE_GETREGSET, pid, address, &whole) == 0 && part->iov_len <= whole.iov_len) {
			memcpy(all, part->iov_base, part->iov_len);
			result = syscall(SYS_ptrace, (long)PTRACE_SETREGSET, pid, address, &whole);
		}
	}
	return result;
}
