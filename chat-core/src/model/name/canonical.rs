//! Conversion of typed text to a canonical name, the rules that the name has to follow, and its
//! skeleton, which look-alikes share.

use std::borrow::Cow;

use unicode_bidi::BidiClass;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::decompose_compatible;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_security::{GeneralSecurityProfile, RestrictionLevel, RestrictionLevelDetection};

use super::{NameError, ShownChar};

/// Maximum number of consecutive combining marks (UTS #39 §5.4).
const MAX_MARKS: usize = 4;

/// COMBINING DOT ABOVE, which is invisible on an `i` or `j`.
const DOT_ABOVE: char = '\u{307}';

/// Rules for one kind of name, such as user names.
pub(super) struct Rules {
    /// Maximum length of the name, and of its canonical spelling, in code points.
    pub(super) max_chars: usize,
    /// Maximum length of the name, and of its canonical spelling, in bytes of UTF-8.
    pub(super) max_bytes: usize,
    /// Punctuation that is allowed besides letters, marks and digits.
    pub(super) punctuation: &'static [char],
    /// Description of the allowed characters, for error texts.
    pub(super) allowed: &'static str,
}

impl Rules {
    /// Refuses very long input before it is processed.
    pub(super) fn check_input(&self, text: &str) -> Result<(), NameError> {
        // Decomposed or full-width text is longer than its canonical spelling, but less than four
        // times as long; only superfluous spaces can exceed this.
        if text.len() > 4 * self.max_bytes {
            Err(self.too_long())
        } else {
            Ok(())
        }
    }

    /// Checks that a spelling of the name is neither empty nor too long.
    pub(super) fn check_length(&self, name: &str) -> Result<(), NameError> {
        if name.is_empty() {
            Err(NameError::Empty)
        } else if name.len() > self.max_bytes || name.chars().count() > self.max_chars {
            Err(self.too_long())
        } else {
            Ok(())
        }
    }

    fn too_long(&self) -> NameError {
        NameError::TooLong {
            max_characters: self.max_chars,
            max_bytes: self.max_bytes,
        }
    }

    /// Checks that each character of a word is allowed.
    pub(super) fn check_characters(&self, word: &str) -> Result<(), NameError> {
        match word.chars().find(|c| !self.allows(*c)) {
            Some(bad) => Err(NameError::Forbidden {
                character: ShownChar(bad),
                allowed: self.allowed,
            }),
            None => Ok(()),
        }
    }

    /// Checks the name as a whole: that it neither starts nor ends with `-` or `.`, and that it has
    /// a letter. `-bob` would look like an option on a command line, `.bob` like a hidden file, and
    /// the dot of `bob.` like the end of a sentence.
    pub(super) fn check_whole(name: &str) -> Result<(), NameError> {
        let separator = |c: char| c == '-' || c == '.';
        if name.starts_with(separator) || name.ends_with(separator) {
            return Err(NameError::BadEdge);
        }
        let letter = |c: char| c.general_category_group() == GeneralCategoryGroup::Letter;
        if name.contains(letter) {
            Ok(())
        } else {
            Err(NameError::NoLetter)
        }
    }

    fn allows(&self, c: char) -> bool {
        self.punctuation.contains(&c)
            || is_han(c)
            || (c.identifier_allowed()
                && (matches!(
                    c.general_category_group(),
                    GeneralCategoryGroup::Letter | GeneralCategoryGroup::Mark
                ) || is_digit(c)))
    }
}

/// Converts full-width and half-width forms, and the ideographic space, to ordinary ones, then to
/// NFC (RFC 8265 §3.3.1 rules 1 and 4).
pub(super) fn fold_width(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{3000}' | '\u{FF00}'..='\u{FFEF}' => decompose_compatible(c, |part| folded.push(part)),
            _ => folded.push(c),
        }
    }
    folded.nfc().collect()
}

/// Converts to lower case, then to NFC (RFC 8265 §3.3.1 rules 3 and 4).
pub(super) fn fold_case(text: &str) -> String {
    text.to_lowercase().nfc().collect()
}

fn is_mark(c: char) -> bool {
    c.general_category_group() == GeneralCategoryGroup::Mark
}

fn is_digit(c: char) -> bool {
    c.general_category() == GeneralCategory::DecimalNumber
}

/// Returns whether `c` is a Chinese character. Includes rare ones, which occur in people's names
/// although UTS #39 counts most extensions as uncommon.
fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{20000}'..='\u{3FFFD}')
        && c.general_category() == GeneralCategory::OtherLetter
}

/// Checks that a word does not start with a mark, and that its marks, digits, scripts and
/// directions may be combined.
pub(super) fn check_word(word: &str) -> Result<(), NameError> {
    if word.starts_with(is_mark) {
        return Err(NameError::BadEdge);
    }
    check_marks(word)?;
    check_digits(word)?;
    if !mixes_scripts_safely(word) {
        return Err(NameError::MixedScripts);
    }
    if !satisfies_bidi_rule(word) {
        return Err(NameError::Direction);
    }
    Ok(())
}

/// Returns whether a word has only scripts that UTS #39 allows together ("highly restrictive").
fn mixes_scripts_safely(word: &str) -> bool {
    // Punctuation belongs to every script, so it need not be kept here. A rare Chinese character
    // counts like a common one.
    let letters: String = word
        .chars()
        .map(|c| if is_han(c) { '一' } else { c })
        .filter(|c| c.identifier_allowed())
        .collect();
    letters.check_restriction_level(RestrictionLevel::HighlyRestrictive)
}

fn check_marks(word: &str) -> Result<(), NameError> {
    let mut run = 0;
    for c in word.nfd() {
        run = if is_mark(c) { run + 1 } else { 0 };
        if run > MAX_MARKS {
            return Err(NameError::TooManyMarks { max: MAX_MARKS });
        }
    }
    Ok(())
}

/// Checks that all digits are of one numbering system (UTS #39 §5.3).
fn check_digits(word: &str) -> Result<(), NameError> {
    // Digits come in runs of ten, so the start of the run identifies the system.
    let system = |c: char| {
        (0..10u32)
            .map_while(|back| u32::from(c).checked_sub(back).and_then(char::from_u32))
            .take_while(|c| is_digit(*c))
            .last()
    };
    let mut systems = word.chars().filter(|c| is_digit(*c)).map(system);
    let first = systems.next();
    if systems.all(|other| Some(other) == first) {
        Ok(())
    } else {
        Err(NameError::MixedDigits)
    }
}

/// Returns whether a word has no right-to-left characters, or satisfies the Bidi Rule of RFC 5893
/// §2.
fn satisfies_bidi_rule(word: &str) -> bool {
    use BidiClass::{AL, AN, BN, CS, EN, ES, ET, L, NSM, ON, R};

    let classes: Vec<BidiClass> = word.chars().map(unicode_bidi::bidi_class).collect();
    if !classes.iter().any(|class| matches!(*class, R | AL | AN)) {
        return true;
    }
    let first = classes.first();
    let last = classes.iter().rev().find(|class| **class != NSM);
    match first {
        Some(&(R | AL)) => {
            let are_all_allowed = classes
                .iter()
                .all(|c| matches!(*c, R | AL | AN | EN | ES | CS | ET | ON | BN | NSM));
            let one_kind_of_digits = !(classes.contains(&EN) && classes.contains(&AN));
            are_all_allowed && one_kind_of_digits && matches!(last, Some(&(R | AL | EN | AN)))
        }
        Some(&L) => {
            let are_all_allowed = classes
                .iter()
                .all(|c| matches!(*c, L | EN | ES | CS | ET | ON | BN | NSM));
            are_all_allowed && matches!(last, Some(&(L | EN)))
        }
        _ => false,
    }
}

/// Form that is equal for all names that look alike: the skeleton of UTS #39 §4, independent of
/// case.
///
/// Not for display: `0` becomes `o`, `1` becomes `l`, `m` becomes `rn`. A newer Unicode version can
/// change skeletons, and nothing recomputes those that a store contains.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Skeleton(Box<str>);

impl Skeleton {
    /// Returns the skeleton of a name in canonical spelling.
    pub(super) fn of(canonical: &str) -> Self {
        // The character that UTS #39 puts in place of a look-alike may be a capital whose small
        // letter is a look-alike too (`በ` → `Ո`, in lower case `ո`, → `n`). So the step is repeated
        // until nothing changes, but at most four times; two steps suffice for every single
        // character of Unicode today.
        let mut skeleton = Cow::Borrowed(canonical);
        for _ in 0..4 {
            let next = fold_confusables(&skeleton);
            if next == *skeleton {
                break;
            }
            skeleton = Cow::Owned(next);
        }
        Self(skeleton.into())
    }

    /// Returns the skeleton as text, for a unique column.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Replaces each look-alike by its representative, in lower case, and a final sigma by the ordinary
/// one. Drops dots above an `i` or `j`.
fn fold_confusables(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in unicode_security::skeleton(text).flat_map(char::to_lowercase) {
        match c {
            DOT_ABOVE if folded.ends_with(['i', 'j']) => {}
            'ς' => folded.push('σ'),
            _ => folded.push(c),
        }
    }
    folded
}
