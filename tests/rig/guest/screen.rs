//! The driver `kms` on the rig's graphics cards: `virtio_gpu` with two sockets, at which tests plug screens in and look
//! at them from outside, and `vkms` with overlay planes, whose composed picture the kernel sums up (CRC).
#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader},
    path::Path,
    time::{Duration, Instant},
};

use rostrum_board::Board;
use rostrum_hal::{
    Frame, FrameData, FrameSize, PixelFormat, Timestamp,
    display::{Display, DisplayError},
};
use rostrum_rig::{
    Module, open_board,
    screen::{Picture, VirtualScreen},
    until,
};

const VGA: FrameSize = FrameSize::new(640, 480);
const SVGA: FrameSize = FrameSize::new(800, 600);

/// Breaks links.
const LINK: Module = Module("rig_link");

type Colour = [u8; 3];
const RED: Colour = [255, 0, 0];
const GREEN: Colour = [0, 255, 0];
const BLUE: Colour = [0, 0, 255];
const WHITE: Colour = [255, 255, 255];
const BLACK: Colour = [0, 0, 0];

/// BT.709, limited range.
fn yuv(colour: Colour) -> [u8; 3] {
    let [r, g, b] = colour.map(|value| f64::from(value) / 255.0);
    let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    let limited = |value: f64, range: f64, middle: f64| (value * range + middle).round() as u8;
    [
        limited(y, 219.0, 16.0),
        limited((b - y) / 1.8556, 224.0, 128.0),
        limited((r - y) / 1.5748, 224.0, 128.0),
    ]
}

/// A picture of four quarters: upper left, upper right, lower left, lower right.
fn quarters(size: FrameSize, colours: [Colour; 4]) -> Frame {
    let (width, height) = (size.width as usize, size.height as usize);
    let mut bytes = Vec::with_capacity(width * height * 3 / 2);
    for (part, scale) in [(0, 1), (1, 2), (2, 2)] {
        let (width, height) = (width / scale, height / scale);
        for y in 0..height {
            for x in 0..width {
                let quarter = usize::from(x >= width / 2) + 2 * usize::from(y >= height / 2);
                bytes.push(yuv(colours[quarter])[part]);
            }
        }
    }
    Frame {
        capture_time: Timestamp::now(),
        sequence: 0,
        format: PixelFormat::Yuv420,
        size,
        data: FrameData::Bytes(bytes.into()),
    }
}

fn like(a: Colour, b: Colour) -> bool {
    a.iter().zip(b).all(|(a, b)| a.abs_diff(b) < 40)
}

/// Whether the picture has `size` and these quarters, between bars of the share `bars` of its width on either side.
fn has_quarters(picture: &Picture, size: FrameSize, bars: f64, colours: [Colour; 4]) -> bool {
    let (width, height) = (f64::from(size.width), f64::from(size.height));
    let inner = 1.0 - 2.0 * bars;
    let at = |x: f64, y: f64| picture.at((width * (bars + inner * x)) as u32, (height * y) as u32);
    let places = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)];
    // Near the corners as well, so that no picture that is moved or cut passes.
    let corners = [(0.02, 0.02), (0.98, 0.02), (0.02, 0.98), (0.98, 0.98)];
    picture.size == size
        && [places, corners].iter().all(|set| set.iter().zip(colours).all(|((x, y), c)| like(at(*x, *y), c)))
}

const UPRIGHT: [Colour; 4] = [RED, GREEN, BLUE, WHITE];

fn display(board: Board) -> Box<dyn Display> {
    board.display.unwrap()
}

fn on_first(keys: &str) -> Box<dyn Display> {
    let section =
        format!("[display]\ndriver = \"kms\"\ncard = \"virtio_gpu\"\nconnector = \"Virtual-1\"\n{keys}");
    display(open_board(&section).unwrap())
}

/// A screen at the first socket of the card; the second is empty.
fn first_screen(size: FrameSize) -> VirtualScreen {
    let mut second = VirtualScreen::at(1).unwrap();
    second.plug(VGA).unwrap();
    second.unplug().unwrap();
    let mut screen = VirtualScreen::at(0).unwrap();
    screen.plug(size).unwrap();
    settle("Virtual-1", Some(size));
    settle("Virtual-2", None);
    screen
}

/// Waits until the kernel knows of a screen and the mode that it prefers, or that there is none.
fn settle(connector: &str, screen: Option<FrameSize>) {
    let folder = Path::new("/sys/class/drm").join(format!("card0-{connector}"));
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
    until("the change of a screen", || {
        // The kernel learns the modes of a screen only when somebody asks.
        fs::write(folder.join("status"), "detect").unwrap();
        let connected = read("status").trim() == "connected";
        let is_so = match screen {
            Some(size) => connected && read("modes").lines().next() == Some(&size.to_string()),
            None => !connected,
        };
        is_so.then_some(())
    })
    .unwrap();
}

fn until_ok(display: &mut Box<dyn Display>) {
    until("screen that works", || display.check().ok()).unwrap();
}

fn until_gone(display: &mut Box<dyn Display>) {
    until("loss of the screen", || matches!(display.check(), Err(DisplayError::Gone { .. })).then_some(()))
        .unwrap();
}

#[test]
fn the_first_screen_has_the_people_and_the_second_the_content() {
    let (mut first, mut second) = (VirtualScreen::at(0).unwrap(), VirtualScreen::at(1).unwrap());
    first.plug(VGA).unwrap();
    second.plug(SVGA).unwrap();
    settle("Virtual-1", Some(VGA));
    settle("Virtual-2", Some(SVGA));
    // The first is named by nobody, and is left to the one that names nothing.
    let board = open_board(
        "[display]\ndriver = \"kms\"\ncard = \"virtio_gpu\"\n\
         [content_display]\ndriver = \"kms\"\ncard = \"virtio_gpu\"\nconnector = \"Virtual-2\"",
    )
    .unwrap();
    let (mut people, mut content) = (board.display.unwrap(), board.content_display.unwrap());
    assert_eq!((people.size(), content.size()), (VGA, SVGA), "each has its screen's own size");
    people.show(quarters(VGA, UPRIGHT)).unwrap();
    content.show(quarters(SVGA, [WHITE, BLUE, GREEN, RED])).unwrap();
    first.shows("picture of the people", |p| has_quarters(p, VGA, 0.0, UPRIGHT)).unwrap();
    second.shows("content", |p| has_quarters(p, SVGA, 0.0, [WHITE, BLUE, GREEN, RED])).unwrap();
    people.show(quarters(VGA, [BLUE; 4])).unwrap();
    first.shows("next picture", |p| has_quarters(p, VGA, 0.0, [BLUE; 4])).unwrap();
    second.shows("content as before", |p| has_quarters(p, SVGA, 0.0, [WHITE, BLUE, GREEN, RED])).unwrap();
    second.unplug().unwrap();
    until_gone(&mut content);
    people.check().unwrap();
    people.show(quarters(VGA, [GREEN; 4])).unwrap();
    first.shows("picture beside a screen that went", |p| has_quarters(p, VGA, 0.0, [GREEN; 4])).unwrap();
    second.plug(SVGA).unwrap();
    second.shows("content again", |p| has_quarters(p, SVGA, 0.0, [WHITE, BLUE, GREEN, RED])).unwrap();
    until_ok(&mut content);
    first.shows("picture beside it", |p| has_quarters(p, VGA, 0.0, [GREEN; 4])).unwrap();
}

#[test]
fn the_picture_is_turned_clockwise() {
    let mut screen = first_screen(VGA);
    for (degrees, turned) in
        [(90, [BLUE, RED, WHITE, GREEN]), (180, [WHITE, BLUE, GREEN, RED]), (270, [GREEN, WHITE, RED, BLUE])]
    {
        let mut display = on_first(&format!("rotation = {degrees}"));
        let size = if degrees == 180 { VGA } else { FrameSize::new(480, 640) };
        assert_eq!(display.size(), size, "people see it upright");
        display.show(quarters(size, UPRIGHT)).unwrap();
        screen.shows(&format!("picture turned by {degrees}"), |p| has_quarters(p, VGA, 0.0, turned)).unwrap();
    }
}

#[test]
fn a_link_that_failed_is_trained_again_and_shows_the_picture() {
    let mut screen = first_screen(VGA);
    let mut display = on_first("");
    display.show(quarters(VGA, UPRIGHT)).unwrap();
    screen.shows("picture", |p| has_quarters(p, VGA, 0.0, UPRIGHT)).unwrap();
    until_ok(&mut display);
    LINK.tell("bad", "card0 Virtual-1").unwrap();
    // Only a new mode makes the kernel take the word back.
    until("good link", || (LINK.count("bad").unwrap() == 0).then_some(())).unwrap();
    until_ok(&mut display);
    screen.shows("picture again", |p| has_quarters(p, VGA, 0.0, UPRIGHT)).unwrap();
}

#[test]
fn a_screen_that_goes_is_gone_and_the_next_shows_the_picture_in_its_own_mode() {
    let mut screen = first_screen(VGA);
    let mut display = on_first("");
    display.show(quarters(VGA, UPRIGHT)).unwrap();
    screen.shows("picture", |p| has_quarters(p, VGA, 0.0, UPRIGHT)).unwrap();
    screen.unplug().unwrap();
    until_gone(&mut display);
    let error = display.check().unwrap_err().to_string();
    assert_eq!(error, "the screen at Virtual-1 is not there; plug it in at Virtual-1 or switch it on");
    // While the thread behind it looks for a screen, twice a second.
    let (frame, begin) = (quarters(VGA, [BLUE; 4]), Instant::now());
    while begin.elapsed() < Duration::from_secs(2) {
        let shown = Instant::now();
        assert!(matches!(display.show(frame.clone()), Err(DisplayError::Gone { .. })));
        assert!(shown.elapsed() < Duration::from_millis(200), "{:?}", shown.elapsed());
    }
    let _ = display.show(quarters(VGA, [WHITE, BLUE, GREEN, RED]));
    screen.plug(SVGA).unwrap();
    screen.shows("last picture, larger", |p| has_quarters(p, SVGA, 0.0, [WHITE, BLUE, GREEN, RED])).unwrap();
    until_ok(&mut display);
    assert_eq!(display.size(), VGA, "the room's picture stays as it was");
}

#[test]
fn a_screen_in_the_place_of_another_gets_its_own_mode() {
    let mut screen = first_screen(VGA);
    let mut display = on_first("");
    display.show(quarters(VGA, UPRIGHT)).unwrap();
    screen.shows("picture", |p| has_quarters(p, VGA, 0.0, UPRIGHT)).unwrap();
    // No moment without a screen.
    let wide = FrameSize::new(1280, 720);
    screen.plug(wide).unwrap();
    // 4:3 in the middle of 16:9.
    screen.shows("picture between bars", |p| has_quarters(p, wide, 0.125, UPRIGHT)).unwrap();
    let bars = screen.picture().unwrap();
    assert!(like(bars.at(20, 360), BLACK) && like(bars.at(1260, 360), BLACK));
    until_ok(&mut display);
}

#[test]
fn without_a_screen_the_board_starts_and_shows_when_one_comes() {
    let mut screen = first_screen(VGA);
    screen.unplug().unwrap();
    settle("Virtual-1", None);
    let mut display = on_first("");
    assert_eq!(display.size(), FrameSize::new(1920, 1080));
    until_gone(&mut display);
    let error = display.show(quarters(display.size(), UPRIGHT)).unwrap_err().to_string();
    assert!(error.contains("Virtual-1 is not there; plug it in"), "{error}");
    let wide = FrameSize::new(1280, 720);
    screen.plug(wide).unwrap();
    screen.shows("picture", |p| has_quarters(p, wide, 0.0, UPRIGHT)).unwrap();
    until_ok(&mut display);
}

#[test]
fn the_mode_of_the_profile_is_set_where_the_screen_has_it() {
    let mut screen = first_screen(VGA);
    let mut display = on_first("mode = \"1024x768@60\"");
    let size = FrameSize::new(1024, 768);
    assert_eq!(display.size(), size);
    display.show(quarters(size, UPRIGHT)).unwrap();
    screen.shows("picture in the mode of the profile", |p| has_quarters(p, size, 0.0, UPRIGHT)).unwrap();
    drop(display);
    let mut display = on_first("mode = \"1000x500\"\nsize = { width = 320, height = 240 }");
    display.show(quarters(FrameSize::new(320, 240), UPRIGHT)).unwrap();
    screen.shows("picture in the screen's own mode", |p| has_quarters(p, VGA, 0.0, UPRIGHT)).unwrap();
}

#[test]
fn while_another_program_has_the_card_the_error_says_so_and_the_picture_comes_after() {
    let mut screen = first_screen(VGA);
    let desktop = OpenOptions::new().read(true).write(true).open("/dev/dri/card0").unwrap();
    let mut display = on_first("");
    let error = until("error", || display.check().err()).unwrap().to_string();
    assert!(error.contains("another program, such as a desktop") && error.contains("stop it"), "{error}");
    let _ = display.show(quarters(VGA, UPRIGHT));
    drop(desktop);
    screen.shows("picture", |p| has_quarters(p, VGA, 0.0, UPRIGHT)).unwrap();
    until_ok(&mut display);
}

#[test]
fn an_error_of_a_profile_names_what_is_there() {
    let error =
        |keys: &str| open_board(&format!("[display]\ndriver = \"kms\"\n{keys}")).err().unwrap().to_string();
    let said = error("card = \"virtio_gpu\"\nconnector = \"HDMI-A-1\"");
    assert!(said.contains("HDMI-A-1 is not there; there are Virtual-1, Virtual-2"), "{said}");
    let said = error("card = \"vc4\"");
    assert!(said.contains("virtio_gpu (/dev/dri/card0), vkms (/dev/dri/card1)"), "{said}");
    let said = error("mode = \"1080p\"");
    assert!(said.contains("1920x1080@60"), "{said}");
    let said = error("[content_display]\ndriver = \"kms\"");
    assert!(said.contains("name the connector of one"), "{said}");
}

// vkms

/// The state of the planes of vkms, as its debugfs shows it.
fn planes() -> String {
    let dri = fs::read_dir("/sys/kernel/debug/dri").unwrap().flatten();
    let folder = dri
        .map(|entry| entry.path())
        .find(|path| fs::read_to_string(path.join("name")).is_ok_and(|name| name.starts_with("vkms")));
    fs::read_to_string(folder.unwrap().join("state")).unwrap()
}

/// What the state says of each plane that shows something.
fn shown_planes() -> Vec<String> {
    let state = planes();
    let blocks = state.split("plane[").skip(1).map(|block| block.split("crtc[").next().unwrap().to_owned());
    blocks
        .filter(|block| block.lines().any(|line| line.trim().starts_with("fb=") && line.trim() != "fb=0"))
        .collect()
}

/// The sum over the picture that vkms sends.
fn sum() -> String {
    let dri = fs::read_dir("/sys/kernel/debug/dri").unwrap().flatten();
    let folder = dri
        .map(|entry| entry.path())
        .find(|path| fs::read_to_string(path.join("name")).is_ok_and(|name| name.starts_with("vkms")));
    let folder = folder.unwrap().join("crtc-0/crc");
    fs::write(folder.join("control"), "auto").unwrap();
    let mut lines = BufReader::new(File::open(folder.join("data")).unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    // Number of the picture, then the sum.
    line.split_whitespace().nth(1).unwrap().to_owned()
}

fn on_vkms(keys: &str) -> Box<dyn Display> {
    display(open_board(&format!("[display]\ndriver = \"kms\"\ncard = \"vkms\"\n{keys}")).unwrap())
}

/// Shows `frame` and gives what the screen then gets: the sum that comes again and again.
fn sum_of(display: &mut Box<dyn Display>, frame: Frame) -> String {
    let before = sum();
    display.show(frame).unwrap();
    until_ok(display);
    until("another picture", || (sum() != before).then_some(())).unwrap();
    let mut last = sum();
    until("picture that stays", || {
        let next = sum();
        std::mem::replace(&mut last, next.clone()).eq(&next).then_some(())
    })
    .unwrap();
    last
}

#[test]
fn an_overlay_shows_what_the_primary_plane_shows() {
    let size = FrameSize::new(1024, 768);
    // Colours that need no rounding, so that the same picture has the same sum.
    let picture = || quarters(size, [WHITE, BLACK, BLACK, BLACK]);
    let mut display = on_vkms("plane = \"primary\"");
    assert_eq!(display.size(), size);
    let on_primary = sum_of(&mut display, picture());
    assert_eq!(shown_planes().len(), 1);
    let other = sum_of(&mut display, quarters(size, [BLACK, WHITE, BLACK, BLACK]));
    assert_ne!(on_primary, other);
    drop(display);
    let mut display = on_vkms("plane = \"overlay\"");
    let on_overlay = sum_of(&mut display, picture());
    assert_eq!(on_overlay, on_primary);
    assert_eq!(shown_planes().len(), 2, "black behind it: {}", planes());
}

#[test]
fn a_plane_that_can_turns_the_picture_upside_down() {
    let size = FrameSize::new(1024, 768);
    let picture = || quarters(size, [WHITE, BLACK, BLACK, BLACK]);
    let mut display = on_vkms("plane = \"overlay\"");
    let upright = sum_of(&mut display, picture());
    drop(display);
    // This plane only says that it turns.
    let mut display = on_vkms("plane = \"overlay\"\nrotation = 180");
    assert_eq!(sum_of(&mut display, picture()), upright, "the processor left it as it was");
    assert!(shown_planes().iter().any(|plane| plane.contains("rotation=4")), "{}", planes());
    drop(display);
    // The primary one does not even say so.
    let mut display = on_vkms("plane = \"primary\"");
    let upside_down = sum_of(&mut display, quarters(size, [BLACK, BLACK, BLACK, WHITE]));
    drop(display);
    let mut display = on_vkms("plane = \"primary\"\nrotation = 180");
    assert_eq!(sum_of(&mut display, picture()), upside_down);
}
