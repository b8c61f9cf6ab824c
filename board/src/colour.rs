//! Colours on lights that lack some of them.

use rostrum_hal::indicator::Signal;

/// How bright the lamps (red, green, blue) of a light shine for a signal, each 0..=255. A lamp that is not
/// there stays 0; a light of one lamp, or whose lamps the colour lacks, shines as bright as the brightest
/// part.
pub(crate) fn brightness_of_lamps(signal: Signal, present: [bool; 3]) -> [u8; 3] {
    let brightest = signal.rgb.into_iter().max().unwrap_or_default();
    let one_lamp = present.iter().filter(|lamp| **lamp).count() == 1;
    let colour_is_lacking = present.iter().zip(signal.rgb).all(|(lamp, part)| !lamp || part == 0);
    let whatever_is_there = one_lamp || colour_is_lacking;
    std::array::from_fn(|lamp| match present[lamp] {
        true if whatever_is_there => brightest,
        true => signal.rgb[lamp],
        false => 0,
    })
}

/// Which lamps shine when they can only be on or off: those that are at least half as bright as the
/// brightest.
pub(crate) fn lamps_that_are_on(brightness: [u8; 3]) -> [bool; 3] {
    let brightest = u16::from(brightness.into_iter().max().unwrap_or_default());
    brightness.map(|lamp| lamp > 0 && u16::from(lamp) * 2 >= brightest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORANGE: Signal = Signal { rgb: [200, 90, 0], blink: None };
    const BLUE: Signal = Signal { rgb: [0, 0, 80], blink: None };

    #[test]
    fn a_light_of_all_colours_shows_the_colour() {
        assert_eq!(brightness_of_lamps(ORANGE, [true; 3]), [200, 90, 0]);
    }

    #[test]
    fn a_light_of_one_colour_is_lit_by_the_brightest_part() {
        assert_eq!(brightness_of_lamps(ORANGE, [false, true, false]), [0, 200, 0]);
        assert_eq!(brightness_of_lamps(Signal::OFF, [false, true, false]), [0; 3]);
    }

    #[test]
    fn a_colour_that_a_light_lacks_is_seen_nevertheless() {
        assert_eq!(brightness_of_lamps(BLUE, [true, true, false]), [80, 80, 0]);
        assert_eq!(brightness_of_lamps(Signal::GREEN, [true, true, false]), [0, 255, 0]);
    }

    #[test]
    fn lamps_without_brightness_show_the_nearest_colour() {
        assert_eq!(lamps_that_are_on([200, 90, 0]), [true, false, false]);
        assert_eq!(lamps_that_are_on([255, 128, 0]), [true, true, false]);
        assert_eq!(lamps_that_are_on([3, 0, 0]), [true, false, false]);
        assert_eq!(lamps_that_are_on([0; 3]), [false; 3]);
    }
}
