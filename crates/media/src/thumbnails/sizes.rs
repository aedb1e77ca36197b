//! Which sizes thumbnails have: few, so that few are made and kept.

use std::{fmt, str::FromStr};

/// How an image gets a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Exactly this shape; what is over is cut off.
    Crop,
    /// The image's own shape, within the size.
    Scale,
}

impl Method {
    /// The number in keys.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Crop => 0,
            Self::Scale => 1,
        }
    }

    /// The name in requests and configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crop => "crop",
            Self::Scale => "scale",
        }
    }
}

/// A size, in pixels, and how to get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Shape.
    pub method: Method,
}

const fn size(width: u32, height: u32, method: Method) -> Size {
    Size { width, height, method }
}

/// What the specification says that servers should make, and one for screens with two pixels where there was one.
pub const THUMBNAIL_SIZES_DEFAULT: [Size; 6] = [
    size(32, 32, Method::Crop),
    size(96, 96, Method::Crop),
    size(320, 240, Method::Scale),
    size(640, 480, Method::Scale),
    size(800, 600, Method::Scale),
    size(1_600, 1_200, Method::Scale),
];

/// Largest side of a size that can be configured, in pixels.
const SIDE_MAX: u32 = 8_192;

impl Size {
    /// The image as large as it is.
    pub(crate) const WHOLE: Self = size(u32::MAX, u32::MAX, Method::Scale);

    fn covers(&self, other: &Self) -> bool {
        self.width >= other.width && self.height >= other.height
    }

    fn area(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    fn has_shape_of(&self, other: &Self) -> bool {
        u64::from(self.width) * u64::from(other.height) == u64::from(self.height) * u64::from(other.width)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{} {}", self.width, self.height, self.method.name())
    }
}

impl FromStr for Size {
    type Err = String;

    /// Reads `WIDTHxHEIGHT METHOD`, as in `320x240 scale`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (sides, method) = text.split_once(' ')?;
            let (width, height) = sides.split_once('x')?;
            let side = |text: &str| text.parse().ok().filter(|side| (1..=SIDE_MAX).contains(side));
            let method = match method.trim() {
                "crop" => Method::Crop,
                "scale" => Method::Scale,
                _ => return None,
            };
            Some(size(side(width)?, side(height)?, method))
        };
        parse().ok_or_else(|| format!("{text:?} is no size like \"320x240 scale\" or \"96x96 crop\", up to {SIDE_MAX}"))
    }
}

/// The size that is made for a wish: never smaller than the wish, so that clients only ever shrink.
///
/// A wish to scale gets the smallest configured size around it. A wish to crop keeps its shape: a configured size of
/// that shape, or one whose longer side is a side of some configured size. Beyond all configured sizes it is the whole
/// image.
pub(crate) fn snapped(wanted: Size, configured: &[Size]) -> Size {
    let covering = configured.iter().filter(|size| size.method == wanted.method && size.covers(&wanted));
    let smallest = match wanted.method {
        Method::Scale => covering.min_by_key(|size| size.area()).copied(),
        Method::Crop => {
            let same = covering.filter(|size| size.has_shape_of(&wanted)).min_by_key(|size| size.area());
            same.copied().or_else(|| stepped(wanted, configured))
        }
    };
    smallest.unwrap_or(Size::WHOLE)
}

/// The same shape, the longer side as long as the next longer side of any configured size.
fn stepped(wanted: Size, configured: &[Size]) -> Option<Size> {
    let longer = wanted.width.max(wanted.height).max(1);
    let sides = configured.iter().flat_map(|size| [size.width, size.height]);
    let step = sides.filter(|side| *side >= longer).min()?;
    let grown = |side: u32| {
        let side = (u64::from(side) * u64::from(step)).div_ceil(u64::from(longer));
        u32::try_from(side).unwrap_or(step).clamp(1, step)
    };
    Some(size(grown(wanted.width), grown(wanted.height), Method::Crop))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn snap(text: &str) -> Size {
        snapped(text.parse().unwrap(), &THUMBNAIL_SIZES_DEFAULT)
    }

    #[test]
    fn wishes_get_the_next_larger_size() {
        for (wanted, made) in [
            ("1x1 crop", "32x32 crop"),
            ("32x32 crop", "32x32 crop"),
            ("33x33 crop", "96x96 crop"),
            ("97x97 crop", "240x240 crop"),
            ("64x32 crop", "96x48 crop"),
            ("320x240 crop", "320x240 crop"),
            ("10x10 scale", "320x240 scale"),
            ("320x241 scale", "640x480 scale"),
            ("240x320 scale", "640x480 scale"),
            ("1600x1200 scale", "1600x1200 scale"),
        ] {
            assert_eq!(snap(wanted).to_string(), made, "{wanted}");
        }
        assert_eq!(snap("1600x1201 scale"), Size::WHOLE);
        assert_eq!(snap("1601x1 crop"), Size::WHOLE);
        assert_eq!(snapped("1x1 crop".parse().unwrap(), &[]), Size::WHOLE);
    }

    #[test]
    fn sizes_are_read() {
        for bad in ["", "1x1", "x1 crop", "0x1 crop", "1x9000 scale", "-1x1 crop", "1x1 cut", "1 1 crop"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_made_smaller_than_the_wish(width in 1_u32..4_000, height in 1_u32..4_000, crop: bool) {
            let method = if crop { Method::Crop } else { Method::Scale };
            let wanted = Size { width, height, method };
            let made = snapped(wanted, &THUMBNAIL_SIZES_DEFAULT);
            prop_assert!(made.covers(&wanted), "{} for {}", made, wanted);
        }
    }
}
