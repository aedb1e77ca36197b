//! The Merkle tree over the records (RFC 9162, section 2.1): its hashes, how it grows, and what proofs consist of.
//!
//! Hashes are kept in tiles of 256, level over level: a tile of level 0 holds leaf hashes, one of level `n` holds the roots
//! of 256 complete tiles below it. What is between is computed from one tile.

use sha2::{Digest as _, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Hashes in a tile.
pub(crate) const TILE: usize = 1 << TILE_BITS;
/// Levels of the tree that a tile spans.
const TILE_BITS: u32 = 8;

/// Hash of a record: `SHA-256(0x00 || record)`.
pub fn leaf_hash(record: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(record).finalize().into()
}

/// Hash over two subtrees: `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Root of the tree without leaves.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// Root over hashes of subtrees of the same size, of which the last may be smaller; none over none.
fn fold(items: impl IntoIterator<Item = Hash>) -> Option<Hash> {
    // Complete subtrees with the binary logarithm of how many items they hold, the largest first.
    let mut stack: Vec<(u32, Hash)> = Vec::with_capacity(TILE_BITS as usize + 2);
    for item in items {
        stack.push((0, item));
        while let [.., (left_bits, left), (bits, right)] = stack.as_slice()
            && left_bits == bits
        {
            let merged = (bits + 1, node_hash(left, right));
            stack.truncate(stack.len() - 2);
            stack.push(merged);
        }
    }
    fold_right(stack.into_iter().map(|(_, hash)| hash))
}

/// Root over complete subtrees of falling size.
fn fold_right(nodes: impl DoubleEndedIterator<Item = Hash>) -> Option<Hash> {
    nodes.rev().reduce(|right, left| node_hash(&left, &right))
}

/// The right edge of a growing tree: the tiles that are not full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

/// Where a tile stands: its level, and its number from the left.
pub(crate) type Place = (u8, u64);

/// The tiles at the right edge of a tree of this size, each with how many hashes it holds.
pub(crate) fn edge(size: u64) -> impl Iterator<Item = (Place, usize)> {
    let levels = (0_u8..).map_while(move |level| {
        let hashes = size.checked_shr(TILE_BITS * u32::from(level)).filter(|hashes| *hashes > 0)?;
        Some(((level, hashes >> TILE_BITS), hashes))
    });
    levels.map(|(place, hashes)| (place, usize::try_from(hashes).unwrap_or(usize::MAX) % TILE))
}

impl Tree {
    /// The tree of this size with this right edge, as [`edge`] names it.
    pub(crate) fn restored(size: u64, levels: Vec<Vec<Hash>>) -> Self {
        Self { size, levels }
    }

    /// How many leaves there are.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf; `full` gets each tile that it fills.
    pub(crate) fn push(&mut self, leaf: Hash, mut full: impl FnMut(Place, &[Hash])) {
        self.size += 1;
        let (mut level, mut hash) = (0_u8, leaf);
        loop {
            let at = usize::from(level);
            if self.levels.len() == at {
                self.levels.push(Vec::with_capacity(TILE));
            }
            let tile = &mut self.levels[at];
            tile.push(hash);
            let Some(over) = (tile.len() == TILE).then(|| fold(tile.iter().copied())).flatten() else { return };
            full((level, (self.size >> (TILE_BITS * (u32::from(level) + 1))) - 1), tile);
            tile.clear();
            (level, hash) = (level + 1, over);
        }
    }

    /// The tiles that are not full, without those that are empty.
    pub(crate) fn tiles(&self) -> impl Iterator<Item = (Place, &[Hash])> {
        edge(self.size)
            .zip(&self.levels)
            .map(|((place, _), tile)| (place, tile.as_slice()))
            .filter(|(_, t)| !t.is_empty())
    }

    /// The root.
    pub(crate) fn root(&self) -> Hash {
        let over = |below: Option<Hash>, tile: &Vec<Hash>| fold(tile.iter().copied().chain(below));
        self.levels.iter().fold(None, over).unwrap_or_else(empty_root)
    }
}

/// A part of the leaves whose root is part of a proof: from the first, up to and without the second.
pub(crate) type Span = (u64, u64);

/// A complete subtree: the binary logarithm of its size, and its number from the left among those.
pub(crate) type Node = (u32, u64);

/// The largest power of two below `count`, which is above 1.
fn split(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

/// What proves that a leaf is in the tree of this size, from the leaf up (RFC 9162, section 2.1.3.1).
pub(crate) fn inclusion(index: u64, size: u64) -> Vec<Span> {
    let (mut low, mut high, mut path) = (0, size, Vec::new());
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            path.push((middle, high));
            high = middle;
        } else {
            path.push((low, middle));
            low = middle;
        }
    }
    path.reverse();
    path
}

/// What proves that the tree of size `to` continues that of size `from` (RFC 9162, section 2.1.4.1).
pub(crate) fn consistency(from: u64, to: u64) -> Vec<Span> {
    let (mut low, mut high, mut path) = (0, to, Vec::new());
    if from == 0 || from == to {
        return path;
    }
    while from != high {
        let middle = low + split(high - low);
        if from <= middle {
            path.push((middle, high));
            high = middle;
        } else {
            path.push((low, middle));
            low = middle;
        }
    }
    if low > 0 {
        path.push((low, high));
    }
    path.reverse();
    path
}

/// The complete subtrees that a span consists of, from the left. A span begins where a subtree as large as it begins.
pub(crate) fn nodes((mut low, high): Span) -> Vec<Node> {
    let mut nodes = Vec::new();
    while low < high {
        let bits = 63 - (high - low).leading_zeros();
        nodes.push((bits, low >> bits));
        low += 1 << bits;
    }
    nodes
}

/// The tile that a subtree is computed from, and which of its hashes.
pub(crate) fn place((bits, number): Node) -> (Place, std::ops::Range<usize>) {
    let (level, within) = (bits / TILE_BITS, bits % TILE_BITS);
    let first = number << within;
    let at = usize::try_from(first % TILE as u64).unwrap_or_default();
    // A tree has at most 2^64 leaves: at most 8 levels of tiles.
    ((u8::try_from(level).unwrap_or(u8::MAX), first >> TILE_BITS), at..at + (1 << within))
}

/// Root of a span of complete subtrees.
pub(crate) fn root_of(nodes: Vec<Hash>) -> Hash {
    fold_right(nodes.into_iter()).unwrap_or_else(empty_root)
}

/// Root of a complete subtree from hashes of a tile.
pub(crate) fn over(hashes: &[Hash]) -> Hash {
    fold(hashes.iter().copied()).unwrap_or_else(empty_root)
}

/// Whether a proof shows that this leaf is in the tree with this root (RFC 9162, section 2.1.3.2).
pub fn includes(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if at % 2 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at % 2 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Whether a proof shows that the tree of size `to` continues that of size `from` (RFC 9162, section 2.1.4.2).
pub fn continues((from, from_root): (u64, &Hash), (to, to_root): (u64, &Hash), path: &[Hash]) -> bool {
    if from > to {
        return false;
    }
    if from == 0 || from == to {
        return path.is_empty() && (from == 0 || from_root == to_root);
    }
    let whole = from.is_power_of_two().then_some(from_root);
    let mut path = whole.into_iter().chain(path);
    let Some(first) = path.next() else { return false };
    let shift = (from - 1).trailing_ones();
    let (mut at, mut last) = ((from - 1) >> shift, (to - 1) >> shift);
    let (mut old, mut new) = (*first, *first);
    for hash in path {
        if last == 0 {
            return false;
        }
        if at % 2 == 1 || at == last {
            (old, new) = (node_hash(hash, &old), node_hash(hash, &new));
            while at % 2 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            new = node_hash(&new, hash);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && old == *from_root && new == *to_root
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{
        Hash, Place, Tree, consistency, continues, empty_root, includes, inclusion, leaf_hash, node_hash, nodes, over,
        place, root_of, split,
    };

    /// The definition, word for word.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            leaves => {
                let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
                node_hash(&defined(left), &defined(right))
            }
        }
    }

    fn hex(hash: &Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    struct Grown {
        leaves: Vec<Hash>,
        tree: Tree,
        tiles: BTreeMap<Place, Vec<Hash>>,
    }

    fn grown(size: u64) -> Grown {
        let (mut tree, mut tiles) = (Tree::default(), BTreeMap::new());
        let leaves: Vec<Hash> = (0..size).map(|number| leaf_hash(&number.to_be_bytes())).collect();
        for leaf in &leaves {
            tree.push(*leaf, |place, tile| drop(tiles.insert(place, tile.to_vec())));
        }
        tiles.extend(tree.tiles().map(|(place, tile)| (place, tile.to_vec())));
        Grown { leaves, tree, tiles }
    }

    impl Grown {
        fn hashes(&self, spans: Vec<super::Span>) -> Vec<Hash> {
            let node = |node| {
                let (tile, range) = place(node);
                over(&self.tiles[&tile][range])
            };
            spans.into_iter().map(|span| root_of(nodes(span).into_iter().map(node).collect())).collect()
        }
    }

    #[test]
    fn the_vectors_of_the_standard() {
        // Certificate Transparency's own: the empty tree, the tree with one empty leaf.
        assert_eq!(hex(&empty_root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex(&leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        assert_eq!(Tree::default().root(), empty_root());
    }

    #[test]
    fn a_tree_grows_as_it_is_defined() {
        let mut tree = Tree::default();
        let Grown { leaves, .. } = grown(1_100);
        for (number, leaf) in leaves.iter().enumerate() {
            assert_eq!(tree.root(), defined(&leaves[..number]), "{number}");
            tree.push(*leaf, |_, _| {});
        }
    }

    #[test]
    fn a_tree_of_three_levels_of_tiles_is_the_defined_one() {
        let size = (1 << 16) + 300;
        let Grown { leaves, tree, tiles } = grown(size);
        assert_eq!(tree.root(), defined(&leaves));
        assert!(tiles.contains_key(&(2, 0)) && tiles[&(0, 0)].len() == 256, "{:?}", tiles.keys().max());
        let restored =
            super::edge(size).map(|(place, count)| tiles.get(&place).map_or(Vec::new(), |t| t[..count].to_vec()));
        assert_eq!(Tree::restored(size, restored.collect()), tree);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn proofs_prove(size in 1_u64..2_000, index in any::<prop::sample::Index>(), wrong in any::<prop::sample::Index>()) {
            let all = grown(size);
            let index = index.index(size as usize) as u64;
            let upto = index + 1;
            let root = all.tree.root();
            let leaf = all.leaves[index as usize];
            let mut path = all.hashes(inclusion(index, size));
            prop_assert!(includes(&leaf, index, size, &path, &root));
            prop_assert!(!includes(&leaf_hash(b"another"), index, size, &path, &root));
            prop_assert!(!includes(&leaf, size, size, &path, &root));
            let old = defined(&all.leaves[..upto as usize]);
            let mut since = all.hashes(consistency(upto, size));
            prop_assert!(continues((upto, &old), (size, &root), &since));
            prop_assert!(!continues((upto, &leaf_hash(b"another")), (size, &root), &since));
            prop_assert!(!continues((size + 1, &old), (size, &root), &since));
            if !path.is_empty() {
                let at = wrong.index(path.len());
                path[at][0] ^= 1;
                prop_assert!(!includes(&leaf, index, size, &path, &root));
            }
            if !since.is_empty() {
                let at = wrong.index(since.len());
                since[at][0] ^= 1;
                prop_assert!(!continues((upto, &old), (size, &root), &since));
                since.pop();
                prop_assert!(!continues((upto, &old), (size, &root), &since));
            }
        }
    }
}
