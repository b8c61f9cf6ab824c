//! Who gets which layer when a link does not carry everything: big screen, big stream.
//!
//! The seats of one subscriber share its bandwidth. Everybody is shown before anybody is shown well; then the largest
//! pictures get better first. A seat that not even the lowest layer is left for is paused.

use super::layers::MAX_LAYERS;

/// A layer is only taken anew when this much more than its bitrate is there, so that it does not come and go.
const UPGRADE_PERCENT: u64 = 110;

/// A picture that flows in its lowest layer is only paused when less than this part of its bitrate is left: an estimate
/// that falls for a moment would else freeze it for seconds.
const KEEP_PERCENT: u64 = 60;

/// One picture that a subscriber shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// Its size on the screen in pixels, as far as the subscriber says it.
    pub area: u64,
    /// A shared screen comes before cameras.
    pub screen: bool,
    /// The best layer that it asks for.
    pub wanted: usize,
    /// What it has now.
    pub current: Option<usize>,
    /// Bits a second of each layer that is sent.
    pub costs: [Option<u64>; MAX_LAYERS],
}

impl Seat {
    /// The layers that it could have, with what they cost, lowest first. When it asks for less than is sent, the
    /// lowest that is sent is better than nothing.
    fn choices(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let lowest = self.costs.iter().position(Option::is_some).unwrap_or(MAX_LAYERS);
        let costs = self.costs.iter().enumerate();
        costs
            .filter(move |(layer, _)| *layer <= self.wanted || *layer == lowest)
            .filter_map(|(layer, cost)| Some((layer, (*cost)?)))
    }

    /// What must be left to take a layer.
    fn price(&self, layer: usize, cost: u64) -> u64 {
        let lowest = self.choices().next().is_some_and(|(lowest, _)| lowest == layer);
        match self.current {
            Some(_) if lowest => cost * KEEP_PERCENT / 100,
            Some(current) if current >= layer => cost,
            _ => cost * UPGRADE_PERCENT / 100,
        }
    }

    /// How much it lacks: pixels on the screen for each pixel of a layer, which has four times those of the one
    /// below.
    fn lack(&self, layer: usize) -> u64 {
        self.area.max(1) >> (2 * layer)
    }
}

/// The layer of each seat, in their order; `None` is paused. With what all of them would cost if they got all that
/// they ask for, in bits a second.
pub fn allocate(seats: &[Seat], budget_bps: u64) -> (Vec<Option<usize>>, u64) {
    let wanted = seats.iter().filter_map(|seat| seat.choices().last()).map(|(_, cost)| cost).sum();
    // The layer of each, and what was taken of the budget for it.
    let mut given: Vec<Option<(usize, u64)>> = vec![None; seats.len()];
    let mut left = budget_bps;
    let mut order: Vec<usize> = (0..seats.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse((seats[*at].screen, seats[*at].area)));
    for at in &order {
        let Some((layer, cost)) = seats[*at].choices().next() else { continue };
        if seats[*at].price(layer, cost) <= left {
            let paid = cost.min(left);
            given[*at] = Some((layer, paid));
            left -= paid;
        }
    }
    loop {
        let better = order.iter().filter_map(|at| {
            let (seat, (layer, paid)) = (&seats[*at], given[*at]?);
            let (next, next_cost) = seat.choices().find(|(other, _)| *other > layer)?;
            let fits = seat.price(next, next_cost) <= left + paid;
            fits.then_some(((seat.screen, seat.lack(layer)), *at, next, next_cost))
        });
        // Of equals the first, which was so before.
        let Some((_, at, layer, cost)) = better.rev().max_by_key(|(lack, ..)| *lack) else { break };
        let paid = given[at].map_or(0, |(_, paid)| paid);
        left = (left + paid).saturating_sub(cost);
        given[at] = Some((layer, cost));
    }
    (given.into_iter().map(|given| given.map(|(layer, _)| layer)).collect(), wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COSTS: [Option<u64>; 3] = [Some(150_000), Some(500_000), Some(1_700_000)];

    fn seat(area: u64) -> Seat {
        Seat { area, screen: false, wanted: 2, current: None, costs: COSTS }
    }

    #[test]
    fn everybody_is_shown_before_anybody_is_shown_well() {
        let seats = [seat(100), seat(100), seat(100)];
        assert_eq!(allocate(&seats, 520_000).0, [Some(0); 3]);
        assert_eq!(allocate(&seats, 900_000).0, [Some(1), Some(0), Some(0)]);
        assert_eq!(allocate(&seats, 10_000_000).0, [Some(2); 3]);
        assert_eq!(allocate(&seats, 1).1, 3 * 1_700_000);
    }

    #[test]
    fn the_large_picture_gets_better_first() {
        let seats = [seat(320 * 180), seat(1280 * 720), seat(320 * 180)];
        assert_eq!(allocate(&seats, 2_300_000).0, [Some(0), Some(2), Some(0)]);
        // Equal before they are better: after two steps the large one lacks no more than the small ones.
        assert_eq!(allocate(&seats, 3_000_000).0, [Some(1), Some(2), Some(1)]);
    }

    #[test]
    fn a_shared_screen_comes_first_and_what_is_left_out_is_paused() {
        let screen = Seat { screen: true, costs: [None, None, Some(800_000)], ..seat(10) };
        assert_eq!(allocate(&[seat(100), screen, seat(50)], 1_060_000).0, [Some(0), Some(2), None]);
        assert_eq!(allocate(&[seat(100), screen], 300_000).0, [Some(0), None]);
    }

    #[test]
    fn what_is_had_is_kept_on_the_edge_but_not_taken() {
        let with = |current| Seat { current, ..seat(1) };
        assert_eq!(allocate(&[with(Some(1))], 510_000).0, [Some(1)]);
        assert_eq!(allocate(&[with(Some(0))], 510_000).0, [Some(0)]);
        assert_eq!(allocate(&[with(Some(0))], 560_000).0, [Some(1)]);
    }

    #[test]
    fn a_picture_that_flows_is_not_paused_for_a_little_that_is_missing() {
        let flows = Seat { current: Some(0), ..seat(1) };
        assert_eq!(allocate(&[flows], 100_000).0, [Some(0)]);
        assert_eq!(allocate(&[flows], 80_000).0, [None]);
        assert_eq!(allocate(&[seat(1)], 100_000).0, [None], "but it is not started");
    }

    #[test]
    fn a_seat_that_wants_less_than_is_sent_gets_the_lowest() {
        let high_only = Seat { wanted: 0, costs: [None, None, Some(900_000)], ..seat(1) };
        assert_eq!(allocate(&[high_only], 2_000_000).0, [Some(2)]);
        let nothing = Seat { costs: [None; 3], ..seat(1) };
        assert_eq!(allocate(&[nothing], 2_000_000), (vec![None], 0));
    }

    fn any_seat() -> impl Strategy<Value = Seat> {
        let cost = || prop::option::of(50_000u64..3_000_000);
        let costs = [cost(), cost(), cost()];
        (0u64..3_000_000, any::<bool>(), 0usize..3, prop::option::of(0usize..3), costs)
            .prop_map(|(area, screen, wanted, current, costs)| Seat { area, screen, wanted, current, costs })
    }

    proptest! {
        #[test]
        fn the_budget_holds_and_nobody_gets_what_is_not_there(
            seats in prop::collection::vec(any_seat(), 0..16),
            budget in 0u64..30_000_000,
        ) {
            let (given, _) = allocate(&seats, budget);
            let mut sum = 0;
            for (seat, given) in seats.iter().zip(&given) {
                if let Some(layer) = given {
                    prop_assert!(seat.costs[*layer].is_some());
                    let cost = seat.costs[*layer].unwrap_or(0);
                    // What flows in its lowest layer may be a little too much for a while.
                    sum += cost.min(seat.price(*layer, cost));
                }
            }
            prop_assert!(sum <= budget);
        }

        #[test]
        fn with_more_nobody_is_paused_who_was_shown(
            seats in prop::collection::vec(any_seat(), 1..16),
            budget in 0u64..10_000_000,
        ) {
            let shown = |budget| allocate(&seats, budget).0.iter().flatten().count();
            let all: u64 = seats.iter().flat_map(|s| s.costs).flatten().sum();
            prop_assert!(shown(budget) <= shown(all * 2));
        }
    }
}
