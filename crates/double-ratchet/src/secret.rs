//! Secret bytes, and what each kind of them is for.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Length of the symmetric keys in bytes.
pub(crate) const KEY_SIZE: usize = 32;

/// `N` secret bytes. They stay where they are on the heap, so that moving the value copies a
/// pointer and not the secret, and they are wiped when it is dropped.
pub(crate) struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    pub(crate) fn zero() -> Self {
        Self(Box::new([0; N]))
    }

    pub(crate) fn from_bytes(bytes: &[u8; N]) -> Self {
        let mut secret = Self::zero();
        secret.0.copy_from_slice(bytes);
        secret
    }

    pub(crate) fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> Clone for Secret<N> {
    fn clone(&self) -> Self {
        Self::from_bytes(&self.0)
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> ZeroizeOnDrop for Secret<N> {}

macro_rules! symmetric_keys {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq)]
        pub(crate) struct $name(Secret<KEY_SIZE>);

        impl $name {
            pub(crate) fn from_bytes(bytes: &[u8; KEY_SIZE]) -> Self {
                Self(Secret::from_bytes(bytes))
            }

            pub(crate) fn as_bytes(&self) -> &[u8; KEY_SIZE] {
                self.0.as_bytes()
            }
        }

        impl ZeroizeOnDrop for $name {}
    )*};
}

symmetric_keys! {
    /// The root of all later keys (document: `RK`).
    RootKey;
    /// What the keys of one chain come from, one after the other (document: `CKs`, `CKr`).
    ChainKey;
    /// What the headers of one chain are encrypted with (document: `HKs`, `HKr` and the next ones).
    HeaderKey;
}
