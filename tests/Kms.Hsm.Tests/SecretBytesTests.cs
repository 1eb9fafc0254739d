using System.Globalization;
using System.Security.Cryptography;

namespace Kms.Hsm.Tests;

public sealed unsafe class SecretBytesTests
{
    private const int Longest = 65_536;
    private const string Text = "a secret of some length";

    [Theory]
    [InlineData(1)]
    [InlineData(64)]
    [InlineData(65)]
    [InlineData(Longest)]
    public void A_secret_holds_what_it_was_filled_with(int length)
    {
        byte[] expected = RandomNumberGenerator.GetBytes(length);
        using SecretBytes secret = new(length, expected.CopyTo);
        using SecretLease lease = secret.Open();
        Assert.Equal(length, secret.Length);
        Assert.True(lease.Bytes.SequenceEqual(expected));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(Longest + 1)]
    public void A_length_outside_the_limits_is_refused(int length) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => new SecretBytes(length, bytes => bytes.Fill(1)).Dispose());

    [Theory]
    [InlineData(32)]
    [InlineData(Longest + 1)]
    public void The_source_is_zeroed_even_when_it_is_refused(int length)
    {
        byte[] source = new byte[length];
        source.AsSpan().Fill(0xAA);
        Exception? refusal = Record.Exception(() => new SecretBytes(source).Dispose());
        Assert.Equal(length > Longest, refusal is ArgumentOutOfRangeException);
        Assert.Equal(-1, source.AsSpan().IndexOfAnyExcept((byte)0));
    }

    [Fact]
    public void The_memory_is_zero_after_disposal()
    {
        byte* address;
        using (SecretBytes secret = new(Longest, bytes => bytes.Fill(0x5A)))
        {
            address = AddressOf(secret);
            Assert.Equal(0x5A, address[Longest - 1]);
        }

        Assert.Equal(-1, new Span<byte>(address, Longest).IndexOfAnyExcept((byte)0));
    }

    [Fact]
    public void A_fill_that_throws_leaves_zero_memory_and_passes_its_exception_on()
    {
        byte* address = null;
        _ = Assert.Throws<TimeZoneNotFoundException>(() => new SecretBytes(4096, bytes =>
        {
            bytes.Fill(0x5A);
            fixed (byte* start = bytes)
            {
                address = start;
            }

            throw new TimeZoneNotFoundException();
        }).Dispose());
        Assert.Equal(-1, new Span<byte>(address, 4096).IndexOfAnyExcept((byte)0));
    }

    [Fact]
    public void A_lease_keeps_the_secret_until_it_ends()
    {
        using SecretBytes secret = new(Longest, bytes => bytes.Fill(0x5A));
        byte* address;
        using (SecretLease lease = secret.Open())
        {
            address = AddressOf(secret);
            secret.Dispose();
            Assert.True(IsRefused(secret));
            Assert.Equal(-1, lease.Bytes.IndexOfAnyExcept((byte)0x5A));
        }

        Assert.Equal(-1, new Span<byte>(address, Longest).IndexOfAnyExcept((byte)0));
    }

    [Fact]
    public void A_lease_that_ended_shows_nothing()
    {
        using SecretBytes secret = new(32, bytes => bytes.Fill(0x5A));
#pragma warning disable IDISP001 // Disposed at once: that is what is tested.
        SecretLease lease = secret.Open();
#pragma warning restore IDISP001
        lease.Dispose();
        bool isRefused = false;
        try
        {
            _ = lease.Bytes.Length;
        }
        catch (ObjectDisposedException)
        {
            isRefused = true;
        }

        Assert.True(isRefused);
    }

    [Theory]
    [InlineData(32)]
    [InlineData(Longest)]
    public void Its_pages_are_locked_and_left_out_of_dumps_and_forks(int length)
    {
        using SecretBytes secret = new(length, bytes => bytes.Fill(1));
        string[] flags = FlagsOf((nuint)AddressOf(secret) + (nuint)length - 1);

        // proc(5), VmFlags: lo = locked, dd = not in core dumps, wf = wiped on fork.
        Assert.Contains("lo", flags);
        Assert.Contains("dd", flags);
        Assert.Contains("wf", flags);
    }

    [Fact]
    public void Locked_memory_grows_with_secrets_and_not_without_bound()
    {
        const int Count = 8;
        long before = LockedKilobytes();
        SecretBytes[] secrets = [.. Enumerable.Range(0, Count).Select(_ => new SecretBytes(Longest, bytes => bytes.Fill(1)))];
        long during = LockedKilobytes();
        foreach (SecretBytes secret in secrets)
        {
            secret.Dispose();
        }

        for (int i = 0; i < 100; i++)
        {
            using SecretBytes again = new(Longest, bytes => bytes.Fill(1));
        }

        Assert.InRange(during - before, 64, Count * 64);
        Assert.Equal(during, LockedKilobytes());
    }

    [Fact]
    public void Neighbours_in_a_page_do_not_touch_each_other()
    {
        SecretBytes[] secrets =
            [.. Enumerable.Range(0, 2000).Select(i => new SecretBytes(1 + (i % 64), bytes => bytes.Fill((byte)(i % 251))))];
        for (int i = 0; i < secrets.Length; i += 2)
        {
            secrets[i].Dispose();
        }

        for (int i = 1; i < secrets.Length; i += 2)
        {
            using SecretLease lease = secrets[i].Open();
            Assert.Equal(-1, lease.Bytes.IndexOfAnyExcept((byte)(i % 251)));
        }

        foreach (SecretBytes secret in secrets)
        {
            secret.Dispose();
        }
    }

    [Fact]
    public void Its_text_has_its_length_and_not_its_content()
    {
        using SecretBytes secret = new("a secret of some length"u8.ToArray());
        Assert.Equal($"secret of {Text.Length} bytes", secret.ToString());
    }

    private static byte* AddressOf(SecretBytes secret)
    {
        using SecretLease lease = secret.Open();
        fixed (byte* start = lease.Bytes)
        {
            return start;
        }
    }

    private static bool IsRefused(SecretBytes secret)
    {
        try
        {
            using SecretLease lease = secret.Open();
            return false;
        }
        catch (ObjectDisposedException)
        {
            return true;
        }
    }

    private static long LockedKilobytes() => long.Parse(
        File.ReadLines("/proc/self/status").Single(line => line.StartsWith("VmLck:", StringComparison.Ordinal)).Split(
            [' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1],
        CultureInfo.InvariantCulture);

    private static string[] FlagsOf(nuint address)
    {
        bool isInside = false;
        foreach (string line in File.ReadLines("/proc/self/smaps"))
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            string[] range = words[0].Split('-');
            if (range.Length == 2 && nuint.TryParse(range[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture, out nuint start))
            {
                isInside = address >= start
                    && address < nuint.Parse(range[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            }
            else if (isInside && words[0] == "VmFlags:")
            {
                return words[1..];
            }
        }

        throw new InvalidOperationException("The address isn't in /proc/self/smaps.");
    }
}
