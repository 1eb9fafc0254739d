using Kmsctl.Output;

namespace Kmsctl.Files;

/// <summary>What a command reads: a file, or standard input.</summary>
internal static class InputFile
{
    /// <exception cref="CommandException">It can't be opened.</exception>
    public static Stream Open(string path)
    {
        if (path == "-")
        {
#pragma warning disable IDISP004 // It takes the stream over.
            return new EndlessInput(Console.OpenStandardInput());
#pragma warning restore IDISP004
        }

        FileStream file = Open(path, new FileStreamOptions { BufferSize = 0, Options = FileOptions.SequentialScan }, "read");
        return file.CanSeek ? file : new EndlessInput(file);
    }

    /// <summary>A file that is changed in place, by nobody else meanwhile; what is written goes out in one pwrite(2) a call.</summary>
    /// <exception cref="CommandException">It can't be opened.</exception>
    public static FileStream OpenForChange(string path) => path == "-" || Libc.KindOf(path) == FileKind.Other
        ? throw new CommandException(ExitCode.NoInput, $"'{path}' is not a regular file; name the sealed file itself.")
        : Open(
            path, new FileStreamOptions { Access = FileAccess.ReadWrite, Share = FileShare.None, BufferSize = 0 }, "changed");

    private static FileStream Open(string path, FileStreamOptions options, string what)
    {
        try
        {
            return new FileStream(path, options);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or ArgumentException)
        {
            string why = exception switch
            {
                _ when Directory.Exists(path) => "is a directory",
                FileNotFoundException or DirectoryNotFoundException => "doesn't exist",
                UnauthorizedAccessException => $"may not be {what} by this account",
                _ => "can't be opened",
            };
            throw new CommandException(ExitCode.NoInput, $"'{path}' {why}; name a file, or '-' for standard input.", exception);
        }
    }

    /// <summary>A pipe or terminal, which can be left while it waits: Ctrl-C ends the command at once.</summary>
    private sealed class EndlessInput(Stream inner) : Stream
    {
        private readonly Stream _inner = inner;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            await _inner.ReadAsync(buffer, CancellationToken.None).AsTask().WaitAsync(cancellationToken);

        public override int Read(byte[] buffer, int offset, int count) => _inner.Read(buffer, offset, count);

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
#pragma warning disable IDISP007 // It took the stream over.
                _inner.Dispose();
#pragma warning restore IDISP007
            }

            base.Dispose(disposing);
        }
    }
}
