//! Columns for people.

use std::io::{self, Write};

/// Writes rows in columns as wide as their widest cell, two spaces apart. The last column is not padded.
pub(crate) fn write<const N: usize>(out: &mut dyn Write, rows: &[[String; N]]) -> io::Result<()> {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up() {
        let rows = [["Node", "DC"], ["é", "dc1"], ["longer-name", ""]].map(|row| row.map(str::to_owned));
        let mut out = Vec::new();
        super::write(&mut out, &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "Node         DC\né            dc1\nlonger-name\n");
    }
}
