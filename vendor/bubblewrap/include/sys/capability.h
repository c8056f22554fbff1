/* The part of libcap that bubblewrap uses, from the kernel's interface alone: two system calls and a table of names. */
#pragma once

#include <linux/capability.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef int cap_value_t;

static inline int
capget (struct __user_cap_header_struct *header, struct __user_cap_data_struct *data)
{
  return syscall (SYS_capget, header, data);
}

static inline int
capset (struct __user_cap_header_struct *header, const struct __user_cap_data_struct *data)
{
  return syscall (SYS_capset, header, data);
}

/* A capability's number is its place in this list: the numbers are kernel ABI, so old kernel headers do no harm. */
static inline int
cap_from_name (const char *name, cap_value_t *value)
{
  static const char *const names[] = {
    "cap_chown", "cap_dac_override", "cap_dac_read_search", "cap_fowner", "cap_fsetid",
    "cap_kill", "cap_setgid", "cap_setuid", "cap_setpcap", "cap_linux_immutable",
    "cap_net_bind_service", "cap_net_broadcast", "cap_net_admin", "cap_net_raw", "cap_ipc_lock",
    "cap_ipc_owner", "cap_sys_module", "cap_sys_rawio", "cap_sys_chroot", "cap_sys_ptrace",
    "cap_sys_pacct", "cap_sys_admin", "cap_sys_boot", "cap_sys_nice", "cap_sys_resource",
    "cap_sys_time", "cap_sys_tty_config", "cap_mknod", "cap_lease", "cap_audit_write",
    "cap_audit_control", "cap_setfcap", "cap_mac_override", "cap_mac_admin", "cap_syslog",
    "cap_wake_alarm", "cap_block_suspend", "cap_audit_read", "cap_perfmon", "cap_bpf",
    "cap_checkpoint_restore",
  };

  for (unsigned int i = 0; i < sizeof names / sizeof *names; i++)
    {
      if (strcasecmp (name, names[i]) == 0)
        {
          *value = (cap_value_t) i;
          return 0;
        }
    }
  return -1;
}
