// SPDX-License-Identifier: GPL-2.0
/*
 * Debian builds no irq-sim, which gpio-sim needs. The kernel's irq_sim.c is
 * meant to be built in and names no licence; this makes it a module.
 */
#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("simulated interrupts, for gpio-sim");
