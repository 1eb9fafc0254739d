using System.Security.Cryptography;
using Kms.Hsm;

namespace Kmsd.Custody;

/// <summary>
/// Splitting a secret among custodians and putting it together again: SLIP-39 (SatoshiLabs), with one group when it splits,
/// and any number when it combines. Arithmetic in GF(256) has no tables and no branch on a secret.
/// </summary>
internal static class Slip39
{
    public const int MostShares = 16;

    private const int DigestLength = 4;
    private const int DigestIndex = 254;
    private const int SecretIndex = 255;
    private const int Rounds = 4;
    private const int BaseIterations = 2500;

    /// <summary>Splits a secret; the caller owns the shares. With an empty passphrase, extendable, iteration exponent 0.</summary>
    /// <param name="secret">16 bytes or more, an even number. Stays the caller's.</param>
    /// <param name="threshold">How many shares bring it back, 1 to <paramref name="count"/>.</param>
    /// <param name="count">How many shares, 1 to 16; more than one if the threshold is.</param>
    /// <param name="setId">15 random bits that tell this set from others.</param>
    public static Slip39Share[] Split(SecretBytes secret, int threshold, int count, int setId)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, MostShares);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(threshold, count);
        ArgumentOutOfRangeException.ThrowIfLessThan(threshold, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(setId, (1 << 15) - 1);
        using SecretBytes encrypted = Crypt(secret, [], Header(threshold, setId), isEncryption: true);
        return SplitWithoutEncryption(encrypted, threshold, count, setId);
    }

    /// <summary>What is split as it is: the inner step, which a test looks at alone.</summary>
    internal static Slip39Share[] SplitWithoutEncryption(SecretBytes secret, int threshold, int count, int setId)
    {
        var shares = new Slip39Share[count];
        try
        {
            SplitInto(shares, secret, Header(threshold, setId));
            return shares;
        }
        catch
        {
            DisposeAll(shares);
            throw;
        }
    }

    private static ShareHeader Header(int threshold, int setId) => new(setId, true, 0, 0, 1, 1, 0, threshold);

    /// <summary>Puts a secret together; the caller owns it.</summary>
    /// <param name="shares">Of each group as many as it needs, of as many groups as are needed; no more. Stay the caller's.</param>
    /// <param name="passphrase">Empty where there was none. A wrong one gives another secret, not an error.</param>
    /// <exception cref="ShareException">They don't belong together, are too few or too many, or one of them is altered.</exception>
    public static SecretBytes Combine(IReadOnlyList<Slip39Share> shares, ReadOnlySpan<byte> passphrase)
    {
        CheckSet(shares);
        ShareHeader first = shares[0].Header;
        IGrouping<int, Slip39Share>[] groups = [.. shares.GroupBy(share => share.Header.GroupIndex)];
        if (groups.Length != first.GroupThreshold)
        {
            throw new ShareException($"Shares of {first.GroupThreshold} groups are needed; these are of {groups.Length}.");
        }

        List<(int Index, SecretBytes Value)> parts = [];
        try
        {
            foreach (IGrouping<int, Slip39Share> group in groups)
            {
                parts.Add((group.Key, CombineGroup([.. group])));
            }

            using SecretBytes encrypted = Recover(first.GroupThreshold, parts);
            return Crypt(encrypted, passphrase, first, isEncryption: false);
        }
        finally
        {
            foreach ((_, SecretBytes value) in parts)
            {
                value.Dispose();
            }
        }
    }

    public static void DisposeAll(IEnumerable<Slip39Share?> shares)
    {
        foreach (Slip39Share? share in shares)
        {
            share?.Dispose();
        }
    }

    private static void CheckSet(IReadOnlyList<Slip39Share> shares)
    {
        if (shares.Count == 0)
        {
            throw new ShareException("There are no shares.");
        }

        ShareHeader first = shares[0].Header;
        foreach (Slip39Share share in shares)
        {
            ShareHeader header = share.Header;
            if (header.SetId != first.SetId)
            {
                throw new ShareException($"The shares are of different sets: {first.SetName} and {header.SetName}.");
            }

            if ((header.IsExtendable, header.IterationExponent, header.GroupThreshold, header.GroupCount, share.Value.Length)
                != (first.IsExtendable, first.IterationExponent, first.GroupThreshold, first.GroupCount, shares[0].Value.Length))
            {
                throw new ShareException($"The shares of set {first.SetName} don't fit together: they were made in different ways.");
            }
        }
    }

    private static SecretBytes CombineGroup(Slip39Share[] shares)
    {
        int threshold = shares[0].Header.MemberThreshold;
        if (shares.Any(share => share.Header.MemberThreshold != threshold))
        {
            throw new ShareException("The shares of one group don't fit together: they ask for different numbers of shares.");
        }

        if (shares.DistinctBy(share => share.Header.MemberIndex).Count() != shares.Length)
        {
            throw new ShareException("One share was given twice.");
        }

        if (shares.Length != threshold)
        {
            throw new ShareException($"{threshold} shares are needed; these are {shares.Length}.");
        }

        return Recover(threshold, [.. shares.Select(share => (share.Header.MemberIndex, share.Value))]);
    }

    private static void SplitInto(Slip39Share[] shares, SecretBytes secret, ShareHeader header)
    {
        int threshold = header.MemberThreshold;
        if (threshold == 1)
        {
            for (int i = 0; i < shares.Length; i++)
            {
                shares[i] = new Slip39Share(header with { MemberIndex = i }, Copy(secret));
            }

            return;
        }

        // Random shares for all but two; the digest and the secret are the polynomial's last two points.
        int random = threshold - 2;
        for (int i = 0; i < random; i++)
        {
            shares[i] = new Slip39Share(header with { MemberIndex = i }, new SecretBytes(secret.Length, RandomNumberGenerator.Fill));
        }

        using SecretBytes digest = MakeDigest(secret);
        (int, SecretBytes)[] points = [.. shares.Take(random).Select(share => (share.Header.MemberIndex, share.Value)), (DigestIndex, digest), (SecretIndex, secret)];
        for (int i = random; i < shares.Length; i++)
        {
            shares[i] = new Slip39Share(header with { MemberIndex = i }, Interpolate(points, i));
        }
    }

    /// <summary>The first bytes of an HMAC-SHA-256 of the secret under random bytes, and those bytes.</summary>
    private static SecretBytes MakeDigest(SecretBytes secret) => new(secret.Length, digest =>
    {
        RandomNumberGenerator.Fill(digest[DigestLength..]);
        Sign(secret, digest[DigestLength..], digest[..DigestLength]);
    });

    private static SecretBytes Recover(int threshold, List<(int Index, SecretBytes Value)> points)
    {
        if (threshold == 1)
        {
            return Copy(points[0].Value);
        }

        SecretBytes secret = Interpolate(points, SecretIndex);
        try
        {
            using SecretBytes digest = Interpolate(points, DigestIndex);
            using SecretLease lease = digest.Open();
            Span<byte> expected = stackalloc byte[DigestLength];
            Sign(secret, lease.Bytes[DigestLength..], expected);
            return CryptographicOperations.FixedTimeEquals(expected, lease.Bytes[..DigestLength])
                ? secret
                : throw new ShareException("The shares don't give a secret: one of them is altered, or of another set.");
        }
        catch
        {
            secret.Dispose();
            throw;
        }
    }

    private static void Sign(SecretBytes secret, ReadOnlySpan<byte> key, Span<byte> destination)
    {
        Span<byte> code = stackalloc byte[HMACSHA256.HashSizeInBytes];
        using SecretLease lease = secret.Open();
        _ = HMACSHA256.HashData(key, lease.Bytes, code);
        code[..destination.Length].CopyTo(destination);
        CryptographicOperations.ZeroMemory(code);
    }

    /// <summary>The value at a place of the polynomial through the points (Lagrange), byte by byte.</summary>
    private static SecretBytes Interpolate(IReadOnlyList<(int Index, SecretBytes Value)> points, int at) => new(points[0].Value.Length, result =>
    {
        foreach ((int index, SecretBytes value) in points)
        {
            // Places are public; only values are secret.
            byte factor = 1;
            foreach ((int other, _) in points.Where(point => point.Index != index))
            {
                factor = Multiply(factor, Multiply((byte)(at ^ other), Invert((byte)(index ^ other))));
            }

            using SecretLease lease = value.Open();
            for (int i = 0; i < result.Length; i++)
            {
                result[i] ^= Multiply(lease.Bytes[i], factor);
            }
        }
    });

    /// <summary>In GF(256) by x^8 + x^4 + x^3 + x + 1 (FIPS 197, section 4.2), without a branch on either number.</summary>
    internal static byte Multiply(byte a, byte b)
    {
        unchecked
        {
            uint product = 0;
            uint shifted = a;
            for (int bit = 0; bit < 8; bit++)
            {
                product ^= (0u - (((uint)b >> bit) & 1u)) & shifted;
                shifted = ((shifted << 1) ^ ((0u - (shifted >> 7)) & 0x11b)) & 0xff;
            }

            return (byte)product;
        }
    }

    /// <summary>a^254; of zero it is zero.</summary>
    internal static byte Invert(byte a)
    {
        byte result = 1;
        byte power = a;
        for (int bit = 1; bit < 8; bit++)
        {
            power = Multiply(power, power);
            result = Multiply(result, power);
        }

        return result;
    }

    /// <summary>Four rounds of a Feistel network over PBKDF2 (SLIP-39, "Encryption of the master secret").</summary>
    private static SecretBytes Crypt(SecretBytes input, ReadOnlySpan<byte> passphrase, ShareHeader header, bool isEncryption)
    {
        int half = input.Length / 2;
        byte[] password = GC.AllocateArray<byte>(1 + passphrase.Length, pinned: true);
        byte[] left = GC.AllocateArray<byte>(half, pinned: true);
        byte[] right = GC.AllocateArray<byte>(half, pinned: true);
        byte[] mask = GC.AllocateArray<byte>(half, pinned: true);
        ReadOnlySpan<byte> prefix = header.IsExtendable ? [] : [.. "shamir"u8, (byte)(header.SetId >> 8), (byte)(header.SetId & 0xff)];
        byte[] salt = GC.AllocateArray<byte>(prefix.Length + half, pinned: true);
        try
        {
            passphrase.CopyTo(password.AsSpan(1));
            prefix.CopyTo(salt);
            using (SecretLease lease = input.Open())
            {
                lease.Bytes[..half].CopyTo(left);
                lease.Bytes[half..].CopyTo(right);
            }

            for (int round = 0; round < Rounds; round++)
            {
                password[0] = (byte)(isEncryption ? round : Rounds - 1 - round);
                right.CopyTo(salt.AsSpan(prefix.Length));
                Rfc2898DeriveBytes.Pbkdf2(password, salt, mask, BaseIterations << header.IterationExponent, HashAlgorithmName.SHA256);
                for (int i = 0; i < half; i++)
                {
                    mask[i] ^= left[i];
                }

                (left, right, mask) = (right, mask, left);
            }

            byte[] first = right;
            byte[] second = left;
            return new SecretBytes(input.Length, output =>
            {
                first.CopyTo(output);
                second.CopyTo(output[half..]);
            });
        }
        finally
        {
            foreach (byte[] bytes in new[] { password, left, right, mask, salt })
            {
                CryptographicOperations.ZeroMemory(bytes);
            }
        }
    }

    private static SecretBytes Copy(SecretBytes source) => new(source.Length, copy =>
    {
        using SecretLease lease = source.Open();
        lease.Bytes.CopyTo(copy);
    });
}
