//! Devices that are lent: to be tested, or to be replaced by another one.
//!
//! Each device belongs to one task or thread, its [`Lender`], which does without it until it is back. Who borrows it
//! ([`Borrower`]) cannot keep it: a [`Loan`] that is dropped goes back.

use std::ops::{Deref, DerefMut};

use tokio::sync::{mpsc, oneshot};

/// The two ends of a device: who may ask for it, and who has it.
pub(crate) fn desk<T>() -> (Borrower<T>, Lender<T>) {
    let (asks, asked) = mpsc::unbounded_channel();
    (Borrower(asks), Lender(asked))
}

/// Who may ask for a device.
pub(crate) struct Borrower<T>(mpsc::UnboundedSender<Ask<T>>);

impl<T> Clone for Borrower<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Borrower<T> {
    /// The device, as soon as its owner gives it away; `None` when nobody has it.
    pub(crate) async fn borrow(&self) -> Option<Loan<T>> {
        let (lend, lent) = oneshot::channel();
        self.0.send(Ask(lend)).ok()?;
        lent.await.ok()
    }
}

/// Somebody wants to have the device.
pub(crate) struct Ask<T>(oneshot::Sender<Loan<T>>);

impl<T> Ask<T> {
    /// Gives it away. It is back at once when nobody waits for it any more.
    pub(crate) fn lend(self, device: T) -> Lent<T> {
        let (back, returned) = oneshot::channel();
        // A loan that is not taken is dropped, and so goes back.
        let _ = self.0.send(Loan { device: Some(device), back: Some(back) });
        Lent(returned)
    }
}

/// Who has the device.
pub(crate) struct Lender<T>(mpsc::UnboundedReceiver<Ask<T>>);

impl<T> Lender<T> {
    /// Who wants it now. Neither waits nor allocates.
    pub(crate) fn asked(&mut self) -> Option<Ask<T>> {
        self.0.try_recv().ok()
    }

    /// Waits until somebody wants it. Cancel-safe.
    pub(crate) async fn wait(&mut self) -> Ask<T> {
        match self.0.recv().await {
            Some(ask) => ask,
            None => std::future::pending().await,
        }
    }
}

/// A device that is away.
pub(crate) struct Lent<T>(oneshot::Receiver<T>);

impl<T> Lent<T> {
    /// The device, or the one in its place, when it is back.
    pub(crate) fn returned(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }

    /// Waits until it is back. Cancel-safe.
    pub(crate) async fn wait(&mut self) -> T {
        match (&mut self.0).await {
            Ok(device) => device,
            // Every loan goes back; only a program that ends loses one.
            Err(_) => std::future::pending().await,
        }
    }
}

impl<T> Lent<T> {
    /// The same, for threads.
    pub(crate) fn blocking_wait(self) -> T {
        match self.0.blocking_recv() {
            Ok(device) => device,
            Err(_) => loop {
                std::thread::park();
            },
        }
    }
}

/// A device that was borrowed.
pub(crate) struct Loan<T> {
    /// There until it is dropped.
    device: Option<T>,
    back: Option<oneshot::Sender<T>>,
}

impl<T> Loan<T> {
    /// Gives `other` back in its place.
    pub(crate) fn replace(mut self, other: T) {
        self.device = Some(other);
    }
}

impl<T> Deref for Loan<T> {
    type Target = Option<T>;

    fn deref(&self) -> &Self::Target {
        &self.device
    }
}

impl<T> DerefMut for Loan<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.device
    }
}

impl<T> Drop for Loan<T> {
    fn drop(&mut self) {
        if let (Some(device), Some(back)) = (self.device.take(), self.back.take()) {
            // Its owner ends only with the program.
            let _ = back.send(device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loan_goes_back_changed_replaced_or_not_taken() {
        let (borrower, mut lender) = desk::<u8>();
        let owner = tokio::spawn(async move {
            let mut device = 1;
            for _ in 0..3 {
                device = lender.wait().await.lend(device).wait().await;
            }
            (device, lender.asked().is_some())
        });
        if let Some(mut loan) = borrower.borrow().await
            && let Some(device) = &mut *loan
        {
            *device = 2;
        }
        // Gave up before it came.
        let (lend, lent) = oneshot::channel();
        drop(lent);
        assert!(borrower.0.send(Ask(lend)).is_ok());
        let loan = borrower.borrow().await;
        assert_eq!(loan.as_ref().and_then(|loan| **loan), Some(2));
        loan.into_iter().for_each(|loan| loan.replace(7));
        assert_eq!(owner.await.ok(), Some((7, false)));
        assert!(borrower.borrow().await.is_none(), "its owner is gone");
    }
}
