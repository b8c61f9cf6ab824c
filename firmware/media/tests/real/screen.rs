//! What people in the room see.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use rostrum_hal::{Frame, FrameSize, Timestamp};
use rostrum_media::{Idle, Meeting, Rect, Scene, Screen, Seat, Share};

use crate::pictures::{Inbox, cut, luma, number_of, time, with_bar};

const HD: FrameSize = FrameSize::new(1280, 720);

fn seat(id: &str) -> Seat {
    Seat { id: id.to_owned(), name: format!("User_{id}"), video: true, ..Default::default() }
}

fn meeting(ids: &[&str]) -> Meeting {
    Meeting { seats: ids.iter().map(|id| seat(id)).collect(), ..Default::default() }
}

fn place(screen: &Screen, id: &str) -> Rect {
    screen.seats().into_iter().find(|(other, _)| other == id).unwrap().1
}

/// What stands in a source's place; `shape` is that of its pictures.
fn shown(screen: &Screen, picture: &Frame, id: &str, shape: FrameSize) -> Frame {
    let inner = rostrum_media::layout::letterbox(place(screen, id), shape);
    cut(picture, inner.x, inner.y, inner.size())
}

#[test]
fn everybody_is_seen_in_their_seat() {
    let mut screen = Screen::new(HD, 30.0).unwrap();
    let ids = ["a", "b", "c", "d"];
    screen.set_scene(Scene::Meeting(meeting(&ids)));
    let sizes = [HD, FrameSize::new(640, 360), FrameSize::new(320, 180), FrameSize::new(720, 1280)];
    for (number, (id, size)) in ids.into_iter().zip(sizes).enumerate() {
        screen.push(id, with_bar(size, number as u32));
    }
    let picture = screen.render(time(1));
    assert_eq!((picture.size, picture.capture_time), (HD, time(1)));
    for (number, (id, size)) in ids.into_iter().zip(sizes).enumerate() {
        assert_eq!(number_of(&shown(&screen, &picture, id, size)), Some(number as u32), "{id}");
    }
}

#[test]
fn only_the_newest_picture_is_shown() {
    let mut screen = Screen::new(HD, 30.0).unwrap();
    screen.set_scene(Scene::Meeting(meeting(&["a"])));
    for number in 0..5 {
        screen.push("a", with_bar(HD, number));
    }
    let picture = screen.render(time(1));
    assert_eq!(number_of(&shown(&screen, &picture, "a", HD)), Some(4));
}

#[test]
fn what_is_shared_is_large_and_the_sharer_stays_visible() {
    let mut screen = Screen::new(HD, 30.0).unwrap();
    let share = Some(Share { id: "slides".to_owned(), name: "User_a".to_owned() });
    screen.set_scene(Scene::Meeting(Meeting { share, ..meeting(&["a", "b"]) }));
    screen.push("slides", with_bar(FrameSize::new(1920, 1080), 1));
    screen.push("a", with_bar(HD, 2));
    let picture = screen.render(time(1));
    assert_eq!(number_of(&shown(&screen, &picture, "slides", HD)), Some(1));
    assert_eq!(number_of(&shown(&screen, &picture, "a", HD)), Some(2));
    assert!(place(&screen, "slides").width > 3 * place(&screen, "a").width);
    // Sharing ends: the seats are large again, with the pictures they had.
    screen.set_scene(Scene::Meeting(meeting(&["a", "b"])));
    let picture = screen.render(time(2));
    assert_eq!(number_of(&shown(&screen, &picture, "a", HD)), Some(2));
    assert!(place(&screen, "a").width > 600);
}

#[test]
fn a_camera_that_is_off_shows_initials_and_no_old_picture() {
    let mut screen = Screen::new(HD, 30.0).unwrap();
    screen.set_scene(Scene::Meeting(meeting(&["a"])));
    screen.push("a", with_bar(HD, 1));
    screen.render(time(1));
    let mut off = meeting(&["a"]);
    off.seats[0].video = false;
    screen.set_scene(Scene::Meeting(off));
    screen.push("a", with_bar(HD, 2));
    let picture = screen.render(time(2));
    let seat = shown(&screen, &picture, "a", HD);
    assert_eq!(number_of(&seat), None);
    // White letters on a disc in the middle.
    let middle = cut(&seat, 300, 160, FrameSize::new(600, 300));
    let bright = middle.bytes().unwrap()[..600 * 300].iter().filter(|v| **v > 200).count();
    assert!(bright > 500, "{bright}");
    screen.set_scene(Scene::Meeting(meeting(&["a"])));
    screen.push("a", with_bar(HD, 3));
    let picture = screen.render(time(3));
    assert_eq!(number_of(&shown(&screen, &picture, "a", HD)), Some(3));
}

#[test]
fn the_speaker_is_marked_and_the_muted_one_too() {
    let mut screen = Screen::new(HD, 30.0).unwrap();
    screen.set_scene(Scene::Meeting(meeting(&["a", "b"])));
    let before = screen.render(time(1));
    let mut marked = meeting(&["a", "b"]);
    marked.seats[0].speaking = true;
    marked.seats[1].muted = true;
    screen.set_scene(Scene::Meeting(marked));
    let after = screen.render(time(2));
    let (a, b) = (place(&screen, "a"), place(&screen, "b"));
    let edge = |picture: &Frame, at: Rect| luma(picture, at.x + 100, at.y - 2, FrameSize::new(100, 2));
    assert!(edge(&after, a) > edge(&before, a) + 50.0);
    assert_eq!(edge(&after, b), edge(&before, b));
    let name = |picture: &Frame, at: Rect| {
        cut(picture, at.x, at.y + at.height, FrameSize::new(200, 20)).bytes().unwrap().to_vec()
    };
    assert_eq!(name(&after, a), name(&before, a));
    assert_ne!(name(&after, b), name(&before, b));
}

#[test]
fn an_idle_room_says_what_to_do() {
    let mut screen = Screen::new(HD, 30.0).unwrap();
    let idle = |title: &str, hint: &str| Scene::Idle(Idle { title: title.to_owned(), hint: hint.to_owned() });
    screen.set_scene(idle("", ""));
    let empty = screen.render(time(1));
    screen.set_scene(idle("Aquarium", "Press Join"));
    let written = screen.render(time(2));
    let bright = |picture: &Frame, y| {
        let part = cut(picture, 0, y, FrameSize::new(1280, 100));
        part.bytes().unwrap()[..128_000].iter().filter(|v| **v > 120).count()
    };
    assert_eq!((bright(&empty, 260), bright(&empty, 380)), (0, 0));
    assert!(bright(&written, 260) > 1000 && bright(&written, 380) > 300);
}

#[test]
fn the_room_sees_itself_in_the_corner_when_it_wants() {
    let mut screen = Screen::new(HD, 30.0).unwrap();
    screen.set_scene(Scene::Meeting(Meeting { self_view: true, ..meeting(&["a"]) }));
    screen.push("a", with_bar(HD, 1));
    screen.input().push_self(with_bar(HD, 2));
    let corner =
        |picture: &Frame| number_of(&cut(picture, 1280 - 48 - 256, 720 - 48 - 144, FrameSize::new(256, 144)));
    assert_eq!(corner(&screen.render(time(1))), Some(2));
    // It stays on top when what is under it changes.
    screen.push("a", with_bar(HD, 3));
    assert_eq!(corner(&screen.render(time(2))), Some(2));
    screen.set_scene(Scene::Meeting(meeting(&["a"])));
    assert_eq!(corner(&screen.render(time(3))), None);
}

#[test]
fn beside_a_share_the_room_sees_itself_after_the_others() {
    let mut screen = Screen::new(HD, 30.0).unwrap();
    let share = Some(Share { id: "slides".to_owned(), name: "User_a".to_owned() });
    screen.set_scene(Scene::Meeting(Meeting { self_view: true, share, ..meeting(&["a", "b"]) }));
    screen.push("slides", with_bar(HD, 1));
    screen.push("b", with_bar(HD, 2));
    screen.input().push_self(with_bar(HD, 3));
    let picture = screen.render(time(1));
    assert_eq!(number_of(&shown(&screen, &picture, "slides", HD)), Some(1));
    assert_eq!(number_of(&shown(&screen, &picture, "b", HD)), Some(2));
    let (a, b) = (place(&screen, "a"), place(&screen, "b"));
    let own = Rect { y: b.y + (b.y - a.y), ..b };
    let inner = rostrum_media::layout::letterbox(own, HD);
    assert_eq!(number_of(&cut(&picture, inner.x, inner.y, inner.size())), Some(3));
}

#[test]
fn the_screen_is_due_when_something_changed_and_not_too_often() {
    let mut screen = Screen::new(HD, 30.0).unwrap();
    let at = |milliseconds: u64| Timestamp::from_clock(Duration::from_millis(1000 + milliseconds));
    let woken = Inbox::new();
    let wake = woken.clone();
    screen.set_waker(Box::new(move || wake.put(())));
    assert!(screen.due(at(0)));
    screen.set_scene(Scene::Meeting(meeting(&["a"])));
    screen.render(at(0));
    assert!(!screen.due(at(100)), "nothing changed");
    screen.push("nobody", with_bar(HD, 0));
    assert_eq!(woken.count(), 0);
    screen.push("a", with_bar(HD, 0));
    assert_eq!(woken.count(), 1);
    assert!(!screen.due(at(10)), "too early for 30 Hz");
    assert!(screen.due(at(33)));
    screen.render(at(33));
    assert!(!screen.due(at(100)));
    let mut speaking = meeting(&["a"]);
    speaking.seats[0].speaking = true;
    screen.set_scene(Scene::Meeting(speaking));
    assert!(screen.due(at(100)));
}

/// What happens to a screen.
#[derive(Clone, Debug)]
enum Step {
    Scene(Scene),
    Push(usize, usize),
    PushSelf(usize),
    Render,
}

const IDS: [&str; 5] = ["a", "b", "c", "d", "slides"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let seats = proptest::sample::subsequence(vec![0usize, 1, 2, 3], 0..=4).prop_flat_map(|ids| {
        let flags = proptest::collection::vec(any::<(bool, bool, bool)>(), ids.len());
        (Just(ids).prop_shuffle(), flags)
    });
    let in_meeting = (seats, any::<(bool, bool)>()).prop_map(|((ids, flags), (sharing, self_view))| {
        let seats = ids.iter().zip(flags).map(|(id, (video, speaking, muted))| Seat {
            video,
            speaking,
            muted,
            ..seat(IDS[*id])
        });
        Scene::Meeting(Meeting {
            seats: seats.collect(),
            share: sharing.then(|| Share { id: "slides".to_owned(), name: "User_a".to_owned() }),
            self_view,
            empty: "Nobody".to_owned(),
        })
    });
    let step = prop_oneof![
        3 => in_meeting.prop_map(Step::Scene),
        1 => Just(Step::Scene(Scene::Idle(Idle { title: "Room".to_owned(), hint: "Press".to_owned() }))),
        6 => (0usize..5, 0usize..3).prop_map(|(id, size)| Step::Push(id, size)),
        2 => (0usize..3).prop_map(Step::PushSelf),
        4 => Just(Step::Render),
    ];
    proptest::collection::vec(step, 0..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    /// What is redrawn in parts looks as if it had been drawn at once.
    #[test]
    fn a_screen_shows_its_scene_whatever_it_showed_before(steps in steps()) {
        let size = FrameSize::new(320, 180);
        let frames = [FrameSize::new(64, 40), FrameSize::new(40, 64), FrameSize::new(96, 54)];
        let mut screen = Screen::new(size, 30.0).unwrap();
        let mut newest: [Option<Frame>; 5] = Default::default();
        let mut newest_self: Option<Frame> = None;
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Scene(scene) => {
                    screen.set_scene(scene.clone());
                    for (id, frame) in IDS.iter().zip(&mut newest) {
                        let Scene::Meeting(meeting) = &scene else { *frame = None; continue };
                        let sees = meeting.seats.iter().any(|seat| seat.id == *id && seat.video)
                            || meeting.share.as_ref().is_some_and(|share| share.id == *id);
                        if !sees { *frame = None; }
                    }
                    if !matches!(&scene, Scene::Meeting(meeting) if meeting.self_view) { newest_self = None; }
                }
                Step::Push(id, shape) => {
                    let frame = with_bar(frames[shape], number as u32);
                    let known = match screen.scene() {
                        Scene::Meeting(meeting) => meeting.seats.iter().any(|s| s.id == IDS[id] && s.video)
                            || (meeting.share.is_some() && IDS[id] == "slides"),
                        _ => false,
                    };
                    if known { newest[id] = Some(frame.clone()); }
                    screen.push(IDS[id], frame);
                }
                Step::PushSelf(shape) => {
                    let frame = with_bar(frames[shape], number as u32);
                    if matches!(screen.scene(), Scene::Meeting(meeting) if meeting.self_view) {
                        newest_self = Some(frame.clone());
                    }
                    screen.input().push_self(frame);
                }
                Step::Render => { screen.render(time(number as u32)); }
            }
        }
        let mut fresh = Screen::new(size, 30.0).unwrap();
        fresh.set_scene(screen.scene().clone());
        for (id, frame) in IDS.iter().zip(newest) {
            if let Some(frame) = frame { fresh.push(id, frame); }
        }
        if let Some(frame) = newest_self { fresh.input().push_self(frame); }
        let (a, b) = (screen.render(time(99)), fresh.render(time(99)));
        let (a, b): (Arc<[u8]>, Arc<[u8]>) = (a.bytes().unwrap().into(), b.bytes().unwrap().into());
        let differs = a.iter().zip(b.iter()).position(|(a, b)| a != b);
        prop_assert_eq!(differs, None);
    }
}
