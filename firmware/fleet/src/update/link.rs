//! What the terminal (`rostrumd`) and `rostrum-updater` say to each other: JSON, one message a line, over a Unix socket
//! at which the terminal listens.

use std::{collections::BTreeSet, io, path::PathBuf};

use rostrum_hal::selftest::Part;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::status::Status;

/// What the terminal says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromTerminal {
    /// What the room does; said at once when it changes, and every few seconds.
    Room {
        /// A meeting runs, or somebody comes into one or goes.
        meeting: bool,
    },
    /// A person wants the server asked now.
    Check,
    /// A person says yes or no to what the server asks for.
    Confirm {
        /// Yes.
        yes: bool,
    },
    /// A person brought a bundle.
    Install {
        /// Where it was put.
        path: PathBuf,
    },
    /// What a self-test found. A meeting that begins ends it early.
    Tested {
        /// Parts that were tested to the end.
        tested: BTreeSet<Part>,
        /// Parts that failed, with what to do.
        failed: Vec<FailedPart>,
    },
}

/// A part that failed its self-test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedPart {
    /// The part.
    pub part: Part,
    /// What is wrong.
    pub why: String,
}

/// What the updater says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromUpdater {
    /// How updates stand.
    Status(Status),
    /// These parts are to be tested, without a person.
    Test {
        /// Parts.
        parts: BTreeSet<Part>,
    },
}

/// A message of more bytes is none.
const LONGEST: u64 = 1 << 16;

/// Reads one message; `None` at the end.
///
/// # Errors
/// When the connection breaks, or what comes is no message.
pub async fn read<T: DeserializeOwned>(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    from.take(LONGEST).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message has no end"));
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// Writes one message.
///
/// # Errors
/// When the connection breaks.
pub async fn write(to: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[tokio::test]
    async fn messages_come_as_they_went() {
        let (mut one, other) = tokio::io::duplex(100);
        let mut other = tokio::io::BufReader::new(other);
        let said = FromTerminal::Install { path: "/a b\n\"c".into() };
        write(&mut one, &said).await.unwrap();
        assert_eq!(read::<FromTerminal>(&mut other).await.unwrap(), Some(said));
        drop(one);
        assert_eq!(read::<FromTerminal>(&mut other).await.unwrap(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes: Vec<u8>) {
            let mut from = bytes.as_slice();
            let _ = pollster::block_on(read::<FromTerminal>(&mut from));
            let mut from = bytes.as_slice();
            let _ = pollster::block_on(read::<FromUpdater>(&mut from));
        }
    }
}
