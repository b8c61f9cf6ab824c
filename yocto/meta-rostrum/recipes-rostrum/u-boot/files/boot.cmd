# Chooses the slot to boot, on every board whose boot loader is U-Boot; RAUC writes the same three variables.
#
# BOOT_ORDER: slots, the wanted one first. BOOT_A_LEFT, BOOT_B_LEFT: how often each is still tried; a boot costs one, and a
# slot that passes its health gate gets three again. The count is saved before anything of the slot is read, so that
# whatever happens then has cost its try.
#
# The board sets devtype and devnum (its disk), the usual addresses (kernel_addr_r, ramdisk_addr_r, fdt_addr_r), and may set
# rostrum_bootargs (console), rostrum_watchdog (commands that start a watchdog which `wdt` does not know) and
# fdt_addr (a device tree that firmware made) or fdtfile (one of the slot's own).

test -n "${BOOT_ORDER}" || setenv BOOT_ORDER "A B"
test -n "${BOOT_A_LEFT}" || setenv BOOT_A_LEFT 3
test -n "${BOOT_B_LEFT}" || setenv BOOT_B_LEFT 3

setenv rostrum_slot
for slot in ${BOOT_ORDER}; do
	if test -n "${rostrum_slot}"; then
		true
	elif test "${slot}" = "A"; then
		if test ${BOOT_A_LEFT} -gt 0; then
			setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1
			setenv rostrum_slot A
			setenv rostrum_system system-a
			setenv rostrum_left ${BOOT_A_LEFT}
		fi
	elif test "${slot}" = "B"; then
		if test ${BOOT_B_LEFT} -gt 0; then
			setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1
			setenv rostrum_slot B
			setenv rostrum_system system-b
			setenv rostrum_left ${BOOT_B_LEFT}
		fi
	fi
done

if test -z "${rostrum_slot}"; then
	echo "rostrum: no slot has a try left; each gets three again"
	setenv BOOT_ORDER "A B"
	setenv BOOT_A_LEFT 3
	setenv BOOT_B_LEFT 3
	saveenv
	reset
fi
echo "rostrum: slot ${rostrum_slot}, ${rostrum_left} tries left"
saveenv

# From here on a boot that hangs is ended, and the next one counts.
if test -n "${rostrum_watchdog}"; then
	run rostrum_watchdog
else
	wdt start 120000
fi

# Nothing of the system is made anew after an update: it is read-only.
setenv bootargs "root=PARTLABEL=${rostrum_system} ro rootwait rauc.slot=${rostrum_slot} panic=10 systemd.gpt_auto=0 systemd.condition_needs_update=0 ${rostrum_bootargs}"
if test -n "${machine_id}"; then
	setenv bootargs "${bootargs} systemd.machine_id=${machine_id}"
fi

setenv rostrum_from "${devtype} ${devnum}#${rostrum_system}"
if load ${rostrum_from} ${kernel_addr_r} /boot/Image; then
	setenv rostrum_initrd -
	if test -e ${rostrum_from} /boot/initrd.img; then
		load ${rostrum_from} ${ramdisk_addr_r} /boot/initrd.img
		setenv rostrum_initrd ${ramdisk_addr_r}:${filesize}
	fi
	if test -z "${fdt_addr}"; then
		if test -n "${fdtfile}"; then
			load ${rostrum_from} ${fdt_addr_r} /boot/${fdtfile}
			setenv fdt_addr ${fdt_addr_r}
		else
			setenv fdt_addr ${fdtcontroladdr}
		fi
	fi
	# What the board has more than its device tree says: lights, buttons, the mute switch.
	if test -e ${rostrum_from} /boot/rostrum.dtbo; then
		load ${rostrum_from} ${scriptaddr} /boot/rostrum.dtbo
		fdt move ${fdt_addr} ${fdt_addr_r}
		setenv fdt_addr ${fdt_addr_r}
		fdt resize 8192
		fdt apply ${scriptaddr}
	fi
	booti ${kernel_addr_r} ${rostrum_initrd} ${fdt_addr}
fi
echo "rostrum: slot ${rostrum_slot} does not boot"
reset
