//! What there is, for `probe`.

use std::{fs, path::Path, sync::Arc};

use rostrum_hal::{PixelFormat, camera::CameraControls};
use v4l2r::{QueueType, ioctl::FormatIterator};

use super::{
    camera::{capture_queue, title, zoom_max},
    controls::{Present, V4l2Controls},
    encoder,
    find::{self, CLASS, Found},
    m2m::Queues,
    node::{Fault, Node, needs_graph},
    offer::offers,
    scaler,
};
use crate::probe::{
    cameras::{Camera, Offer},
    encoders::{Converter, Encoder},
};

/// Where udev links video devices by the port that they are at.
const BY_PATH: &str = "/dev/v4l/by-path";

/// Every camera, in the order of its number.
pub(crate) fn cameras() -> Vec<Camera> {
    find::cameras(Path::new(CLASS)).iter().filter_map(camera).collect()
}

/// `None` for what gives no pictures.
fn camera(found: &Found) -> Option<Camera> {
    let mut camera = Camera {
        node: found.path.clone(),
        title: title(found),
        serial: found.serial.clone(),
        by_path: by_path(Path::new(BY_PATH), &found.path),
        ..Camera::default()
    };
    let (node, capability) = match Node::open(&found.path) {
        Ok(opened) => opened,
        Err(Fault::Gone) => return None,
        Err(fault) => return Some(Camera { problem: Some(fault.to_string()), ..camera }),
    };
    let queue = capture_queue(&capability)?;
    camera.needs_graph = needs_graph(&node);
    let (usable, all) = offers(&node, queue);
    camera.offers = usable.into_iter().map(Offer::from).collect();
    camera.formats = all;
    (camera.driver, camera.bus) = (capability.driver, capability.bus_info);
    let present = Present::absent(camera.title.clone(), zoom_max());
    present.came(Arc::new(node), Vec::new());
    camera.controls = V4l2Controls { present: Arc::new(present) }.list().unwrap_or_default();
    Some(camera)
}

/// The link under `folder` that leads to `node`.
fn by_path(folder: &Path, node: &Path) -> Option<std::path::PathBuf> {
    let links = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<_> =
        links.filter(|link| fs::canonicalize(link).is_ok_and(|real| real == node)).collect();
    found.sort();
    found.into_iter().next()
}

/// Every H.264 encoder of the kernel, in the order of its number.
pub(crate) fn encoders() -> Vec<Encoder> {
    let found = encoder::encoders().into_iter();
    found
        .map(|encoder| Encoder { node: encoder.path, title: encoder.title, takes: encoder.formats })
        .collect()
}

/// Every memory-to-memory device that takes and gives raw pictures: scalers, converters, deinterlacers.
pub(crate) fn converters() -> Vec<Converter> {
    let nodes = find::nodes(Path::new(CLASS)).into_iter();
    nodes.filter_map(|(found, _)| converter(&found)).collect()
}

fn converter(found: &Found) -> Option<Converter> {
    let (node, capability) = Node::open(&found.path).ok()?;
    let queues = Queues::of(&capability)?;
    let is_coded = |queue: QueueType| {
        use v4l2r::ioctl::FormatFlags;
        FormatIterator::new(&node, queue).any(|format| format.flags.contains(FormatFlags::COMPRESSED))
    };
    if is_coded(queues.output) || is_coded(queues.capture) {
        return None;
    }
    let all = [PixelFormat::Yuv420, PixelFormat::Nv12, PixelFormat::Yuyv];
    let takes: Vec<_> = all.into_iter().filter(|format| queues.takes(&node, *format)).collect();
    if takes.is_empty() {
        return None;
    }
    drop(node);
    let scales = scaler::is_scaler(&found.path);
    Some(Converter {
        node: found.path.clone(),
        title: capability.card,
        driver: capability.driver,
        takes,
        scales,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_link_by_the_port_that_leads_to_a_camera_is_found() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("by-path");
        fs::create_dir(&folder).unwrap();
        let nodes = ["video0", "video2"].map(|name| root.path().canonicalize().unwrap().join(name));
        for (node, link) in nodes.iter().zip(["usb-0:1:1.0-video-index0", "usb-0:2:1.0-video-index0"]) {
            fs::write(node, "").unwrap();
            symlink(node, folder.join(link)).unwrap();
        }
        assert_eq!(by_path(&folder, &nodes[1]).unwrap(), folder.join("usb-0:2:1.0-video-index0"));
        assert_eq!(by_path(&folder, Path::new("/dev/video9")), None);
    }
}
