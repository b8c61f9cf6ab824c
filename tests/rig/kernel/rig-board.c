// SPDX-License-Identifier: GPL-2.0
/*
 * rig-board: the lights and buttons of a virtual board.
 *
 * Real leds-gpio and gpio-keys devices on lines of a gpio-sim chip: a test
 * pulls a simulated line and sees an input event, or writes an LED and sees the
 * line move. Beside them a multicolour LED without lines, whose channels are
 * read back through sysfs.
 *
 * gpio-sim must have a live chip of the label in the parameter `chip` before
 * this module is loaded.
 *
 *	line	device
 *	0	LED rig:red:status
 *	1	LED rig:green:status
 *	2	LED rig:blue:status
 *	3	LED rig:red:recording
 *	8	KEY_MICMUTE
 *	9	KEY_VENDOR
 *	10	KEY_RESTART
 *	12	SW_MUTE_DEVICE
 *
 * Buttons and the switch are active when their line is low, so that pull-ups
 * are their rest.
 */
#include <linux/gpio/driver.h>
#include <linux/gpio/machine.h>
#include <linux/gpio_keys.h>
#include <linux/input.h>
#include <linux/led-class-multicolor.h>
#include <linux/leds.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#define DEBOUNCE_MS	20

static char *chip = "rigchip";
module_param(chip, charp, 0444);
MODULE_PARM_DESC(chip, "label of the gpio-sim chip");

/* In the order of their lines from 0 on. */
static const struct gpio_led leds[] = {
	{ .name = "rig:red:status", .default_trigger = "none" },
	{ .name = "rig:green:status", .default_trigger = "none" },
	{ .name = "rig:blue:status", .default_trigger = "none" },
	{ .name = "rig:red:recording", .default_trigger = "none" },
};

static const struct gpio_led_platform_data leds_data = {
	.num_leds = ARRAY_SIZE(leds),
	.leds = leds,
};

struct button {
	unsigned int line;
	unsigned int type;
	unsigned int code;
	const char *name;
};

static const struct button buttons[] = {
	{ 8, EV_KEY, KEY_MICMUTE, "mute" },
	{ 9, EV_KEY, KEY_VENDOR, "call" },
	{ 10, EV_KEY, KEY_RESTART, "factory" },
	{ 12, EV_SW, SW_MUTE_DEVICE, "privacy" },
};

static struct gpio_keys_button keys[ARRAY_SIZE(buttons)];

static const struct gpio_keys_platform_data keys_data = {
	.buttons = keys,
	.nbuttons = ARRAY_SIZE(keys),
	.name = "rig-buttons",
};

static struct mc_subled channels[] = {
	{ .color_index = LED_COLOR_ID_RED },
	{ .color_index = LED_COLOR_ID_GREEN },
	{ .color_index = LED_COLOR_ID_BLUE },
};

static void front_brightness_set(struct led_classdev *led, enum led_brightness brightness)
{
	/* there is no hardware; this keeps the channels' own brightness true */
	led_mc_calc_color_components(lcdev_to_mccdev(led), brightness);
}

static struct led_classdev_mc front_led = {
	.led_cdev = {
		.name = "rig:multicolor:front",
		.max_brightness = LED_FULL,
		.brightness_set = front_brightness_set,
	},
	.num_colors = ARRAY_SIZE(channels),
	.subled_info = channels,
};

static struct gpiod_lookup_table *leds_lines;
static struct platform_device *leds_device;
static struct platform_device *keys_device;

static int match_label(struct gpio_chip *gc, void *label)
{
	return gc->label && !strcmp(gc->label, label);
}

static int add_leds(void)
{
	int i;

	leds_lines = kzalloc(struct_size(leds_lines, table, ARRAY_SIZE(leds) + 1), GFP_KERNEL);
	if (!leds_lines)
		return -ENOMEM;
	leds_lines->dev_id = "leds-gpio";
	for (i = 0; i < ARRAY_SIZE(leds); i++)
		leds_lines->table[i] = GPIO_LOOKUP_IDX(chip, i, NULL, i, GPIO_ACTIVE_HIGH);
	gpiod_add_lookup_table(leds_lines);

	leds_device = platform_device_register_data(NULL, "leds-gpio", PLATFORM_DEVID_NONE,
						    &leds_data, sizeof(leds_data));
	if (IS_ERR(leds_device)) {
		gpiod_remove_lookup_table(leds_lines);
		kfree(leds_lines);
		return PTR_ERR(leds_device);
	}
	return 0;
}

static void remove_leds(void)
{
	platform_device_unregister(leds_device);
	gpiod_remove_lookup_table(leds_lines);
	kfree(leds_lines);
}

static int add_keys(const struct gpio_chip *gc)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(buttons); i++) {
		/* without a device tree gpio-keys wants global numbers */
		keys[i].gpio = gc->base + buttons[i].line;
		keys[i].active_low = 1;
		keys[i].type = buttons[i].type;
		keys[i].code = buttons[i].code;
		keys[i].desc = buttons[i].name;
		keys[i].debounce_interval = DEBOUNCE_MS;
	}
	keys_device = platform_device_register_data(NULL, "gpio-keys", PLATFORM_DEVID_AUTO,
						    &keys_data, sizeof(keys_data));
	return PTR_ERR_OR_ZERO(keys_device);
}

static int __init rig_board_init(void)
{
	struct gpio_chip *gc = gpiochip_find(chip, match_label);
	int ret;

	if (!gc)
		return -ENODEV;
	ret = add_leds();
	if (ret)
		return ret;
	ret = add_keys(gc);
	if (ret)
		goto remove_leds;
	ret = led_classdev_multicolor_register(&leds_device->dev, &front_led);
	if (ret)
		goto remove_keys;
	return 0;

remove_keys:
	platform_device_unregister(keys_device);
remove_leds:
	remove_leds();
	return ret;
}

static void __exit rig_board_exit(void)
{
	led_classdev_multicolor_unregister(&front_led);
	platform_device_unregister(keys_device);
	remove_leds();
}

module_init(rig_board_init);
module_exit(rig_board_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("lights and buttons on a simulated GPIO chip for tests");
