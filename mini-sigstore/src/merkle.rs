//! The Merkle tree of RFC 6962 section 2.1.

use crate::sha256;

pub(crate) type Hash = [u8; 32];

pub(crate) fn leaf(body: &[u8]) -> Hash {
    sha256([&[0], body].concat())
}

fn node(left: &Hash, right: &Hash) -> Hash {
    sha256([&[1][..], left, right].concat())
}

/// The root of the tree over `leaves`.
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256([]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&root(left), &root(right))
        }
    }
}

/// The audit path of the leaf at `index`, from the leaf up.
pub(crate) fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut below, beside) = match index.checked_sub(left.len()) {
        None => (path(left, index), root(right)),
        Some(index) => (path(right, index), root(left)),
    };
    below.push(beside);
    below
}

/// The largest power of two that is smaller than `count`, which is at least 2.
fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9162 section 2.1.3.2, written from its text.
    fn verifies(leaf: Hash, index: usize, size: usize, path: &[Hash], expected: Hash) -> bool {
        let (mut fn_, mut sn, mut hash) = (index, size - 1, leaf);
        for sibling in path {
            if sn == 0 {
                return false;
            }
            if fn_ & 1 == 1 || fn_ == sn {
                hash = node(sibling, &hash);
                while fn_ & 1 == 0 && fn_ != 0 {
                    (fn_, sn) = (fn_ >> 1, sn >> 1);
                }
            } else {
                hash = node(&hash, sibling);
            }
            (fn_, sn) = (fn_ >> 1, sn >> 1);
        }
        sn == 0 && hash == expected
    }

    #[test]
    fn every_leaf_of_every_small_tree_has_a_path_that_verifies() {
        for size in 1..=33 {
            let leaves: Vec<_> = (0..size).map(|index| leaf(&[u8::try_from(index).unwrap()])).collect();
            for (index, leaf) in leaves.iter().enumerate() {
                assert!(verifies(*leaf, index, size, &path(&leaves, index), root(&leaves)), "{index}/{size}");
            }
        }
    }
}
