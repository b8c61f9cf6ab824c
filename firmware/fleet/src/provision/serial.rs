//! Names by a prefix and a number.

use rostrum_hal::identity::Udid;

use super::ProvisionError;

/// The first name `PREFIXnnn` from `from` on, with at least `digits` digits, after all that are `used`: numbers that
/// were given away and those below them are not filled in.
///
/// # Errors
/// [`ProvisionError::NoSerial`] when the numbers are used up, or the name would be none.
pub fn next<'a>(
    prefix: &str,
    from: u64,
    digits: u8,
    used: impl Iterator<Item = &'a Udid>,
) -> Result<Udid, ProvisionError> {
    let none = || ProvisionError::NoSerial { prefix: prefix.into(), digits };
    let number = |udid: &Udid| {
        let digits = udid.as_str().strip_prefix(prefix)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?
    };
    let after = used.filter_map(number).max().map_or(Some(0), |last| last.checked_add(1)).ok_or_else(none)?;
    let text = format!("{:0width$}", after.max(from), width = usize::from(digits));
    if text.len() > usize::from(digits) {
        return Err(none());
    }
    Udid::new(format!("{prefix}{text}")).map_err(|_| none())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn after(used: &[&str], from: u64) -> String {
        let used: Vec<_> = used.iter().map(|name| Udid::new(*name).unwrap()).collect();
        next("ROOM-", from, 4, used.iter()).unwrap().into()
    }

    #[test]
    fn the_next_number_is_after_the_last_one_and_not_before_the_first() {
        assert_eq!(after(&[], 1), "ROOM-0001");
        assert_eq!(after(&["ROOM-0007", "ROOM-0003", "HALL-0099", "ROOM-x1", "ROOM-"], 1), "ROOM-0008");
        assert_eq!(after(&["ROOM-0007"], 100), "ROOM-0100");
    }

    #[test]
    fn numbers_end_and_a_prefix_must_be_part_of_a_name() {
        let last = [Udid::new("R9").unwrap()];
        assert!(next("R", 1, 1, last.iter()).is_err() && next("R", 10, 1, [].iter()).is_err());
        assert!(next("a room ", 1, 4, [].iter()).is_err());
        let greatest = [Udid::new(format!("R{}", u64::MAX)).unwrap()];
        assert!(next("R", 1, 20, greatest.iter()).is_err());
    }

    proptest! {
        #[test]
        fn no_name_is_given_twice(
            used in prop::collection::vec("(A|AB)[0-9]{0,6}", 0..20), from in 0..2_000_000_u64, digits in 0..9_u8,
        ) {
            let used: Vec<_> = used.iter().filter_map(|name| Udid::new(name.as_str()).ok()).collect();
            if let Ok(new) = next("A", from, digits, used.iter()) {
                prop_assert!(!used.contains(&new));
            }
        }
    }
}
