//! Tables of text: columns as wide as their widest cell, two spaces between.

/// Lays rows out under a heading. Cells are plain text; trailing space is left off.
pub fn render(heading: &[&str], rows: &[Vec<String>]) -> String {
    let columns = heading.len();
    let mut widths: Vec<usize> = heading
        .iter()
        .map(|cell| console::measure_text_width(cell))
        .collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(console::measure_text_width(cell));
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (position, cell) in cells.enumerate() {
            text.push_str(cell);
            if position + 1 < columns {
                let padding =
                    widths[position].saturating_sub(console::measure_text_width(cell)) + 2;
                text.extend(std::iter::repeat_n(' ', padding));
            }
        }
        format!("{}\n", text.trim_end())
    };
    let mut table = line(&mut heading.iter().copied());
    for row in rows {
        table.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_what_is_seen() {
        let rows = vec![
            vec!["1".into(), "train".into(), "x".into()],
            vec!["10".into(), "\u{4e2d}".into(), String::new()],
        ];
        let table = render(&["#", "NAME", "STATE"], &rows);
        assert_eq!(table, "#   NAME   STATE\n1   train  x\n10  \u{4e2d}\n");
    }
}
